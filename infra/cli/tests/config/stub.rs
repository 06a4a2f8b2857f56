//! An endpoint that keeps who signed each request: it has one document, in S3 and in SSM, and no tables.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const DOCUMENT: &str = "{\"quarantine\": \"file:///q\", \"sinks\": {\"out\": {\"uri\": \"stdout://\"}}, \
                        \"aws\": {\"region\": \"eu-south-2\"}}";

pub(crate) struct Stub {
    pub(crate) url: String,
    signers: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let signers = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&signers);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(&mut stream.unwrap(), &kept);
            }
        });
        Self { url, signers }
    }

    /// Access key and region of the last request.
    pub(crate) fn last_signer(&self) -> String {
        self.signers.lock().unwrap().last().unwrap().clone()
    }
}

fn answer(stream: &mut TcpStream, signers: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(&mut *stream);
    let (mut signer, mut length, mut target) = (String::new(), 0, String::new());
    let mut request = String::new();
    reader.read_line(&mut request).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "x-amz-target" => target = value.to_owned(),
            "authorization" => {
                // AWS4-HMAC-SHA256 Credential=KEY/DAY/REGION/SERVICE/aws4_request, …
                let scope: Vec<&str> = value.split_once('=').unwrap().1.split('/').collect();
                signer = format!("{} {}", scope[0], scope[2]);
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let (status, text) = if target == "AmazonSSM.GetParameter" {
        let parameter = serde_json::json!({"Parameter": {"Name": "n", "Value": DOCUMENT}});
        ("200 OK", parameter.to_string())
    } else if target.starts_with("DynamoDB") {
        let kind = "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException";
        (
            "400 Bad Request",
            serde_json::json!({"__type": kind, "message": "no table"}).to_string(),
        )
    } else if request.starts_with("GET /bucket/path/tidewatch.yaml") {
        ("200 OK", DOCUMENT.to_owned())
    } else {
        ("404 Not Found", String::new())
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    // Before the answer, or the command could end first.
    signers.lock().unwrap().push(signer);
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
}
