"""Lambda's runtime API, as much of it as one invocation needs: on the loopback interface, bounded in time.

One event is handed to one new process; what it answers and how long that took comes back. Each reply leaves in a
single packet (a header and a body in two would add a delayed acknowledgement of 40 ms to what is measured).
"""
import os
import socket
import subprocess
import threading
import time

REQUEST_ID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
PREFIX = "/2018-06-01/runtime/"


class Answer:
    """How an invocation ended."""

    def __init__(self, kind, body, seconds):
        self.kind = kind  # "response", "error" or "init/error"
        self.body = body
        self.seconds = seconds  # from just before the process was started to the last byte of its answer


def environment(**more):
    """What Lambda sets; no credential of the caller's, and no address that could be asked for one."""
    env = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "LANG") if key in os.environ}
    env.update(
        AWS_LAMBDA_FUNCTION_NAME="forward",
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE="256",
        AWS_LAMBDA_FUNCTION_VERSION="$LATEST",
        AWS_LAMBDA_LOG_GROUP_NAME="/aws/lambda/forward",
        AWS_LAMBDA_LOG_STREAM_NAME="local",
        AWS_LAMBDA_INITIALIZATION_TYPE="on-demand",
        AWS_REGION="eu-central-1",
        AWS_DEFAULT_REGION="eu-central-1",
        AWS_ACCESS_KEY_ID="local",
        AWS_SECRET_ACCESS_KEY="local",
        AWS_EC2_METADATA_DISABLED="true",
    )
    env.update(more)
    return env


def _request(stream):
    """(method, path, body) of the next request on the connection, or None at its end."""
    first = stream.readline()
    if not first:
        return None
    method, path, _ = first.decode("latin-1").split(" ", 2)
    headers = {}
    while True:
        text = stream.readline().decode("latin-1").strip()
        if not text:
            break
        name, _, content = text.partition(":")
        headers[name.strip().lower()] = content.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while True:
            size = int(stream.readline().split(b";")[0], 16)
            body += stream.read(size)
            stream.readline()
            if size == 0:
                return method, path, body
    return method, path, stream.read(int(headers.get("content-length", 0)))


def invoke(command, event, env, output=subprocess.DEVNULL, timeout=30.0):
    """Starts the command, hands it the event (bytes), returns its Answer, and ends it. TimeoutError if it takes longer."""
    done, answers = threading.Event(), []
    listener = socket.create_server(("127.0.0.1", 0))
    handed = threading.Lock()

    def serve(connection):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = connection.makefile("rb")
            while (request := _request(stream)) is not None:
                method, path, body = request
                if method == "GET" and path == PREFIX + "invocation/next":
                    if not handed.acquire(blocking=False):
                        return done.wait(timeout)  # there is no second event; Lambda keeps the call open too
                    connection.sendall((
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                        f"Lambda-Runtime-Aws-Request-Id: {REQUEST_ID}\r\n"
                        f"Lambda-Runtime-Deadline-Ms: {int((time.time() + 300) * 1000)}\r\n"
                        "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-central-1:123456789012:function:forward\r\n"
                        "Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0\r\n"
                        f"Content-Length: {len(event)}\r\n\r\n").encode() + event)
                    continue
                if method == "POST" and path.startswith(PREFIX):
                    kind = path[len(PREFIX):].replace(f"invocation/{REQUEST_ID}/", "")
                    answers.append((kind, body, time.perf_counter()))
                    done.set()
                connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
                                   b'{"status":"OK"}')
        except (OSError, ValueError):
            pass  # the process is gone
        finally:
            connection.close()

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    env = dict(env, AWS_LAMBDA_RUNTIME_API=f"127.0.0.1:{listener.getsockname()[1]}")
    begin = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        while not done.wait(0.05):
            if time.perf_counter() - begin > timeout:
                raise TimeoutError(f"no answer from {command[0]} within {timeout:.0f} s")
            if process.poll() is not None and not done.wait(0.2):
                raise RuntimeError(f"{command[0]} ended with status {process.returncode} before it answered")
        # Give it its call for the next event: by then it has written what it writes after an answer.
        if output is not subprocess.DEVNULL:
            time.sleep(0.05)
        return Answer(answers[0][0], answers[0][1], answers[0][2] - begin)
    finally:
        process.kill()
        process.wait()
        done.set()
        listener.close()
