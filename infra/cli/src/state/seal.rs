//! Encrypted dumps: a data key of KMS for each file, AES-256-GCM for each line.
//!
//! The first line is a [`Header`] in clear with the data key as KMS encrypted it; each further line is the base64 of the
//! sealed line. The nonce of a line is its number and the header is authenticated with each, so lines cannot be moved
//! between places or files; that the last is there, the dump's own end shows.

use std::io;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tidewatch::aws::describe;

use crate::cli::Failure;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    tidewatch: String,
    version: u32,
    kms_key: String,
    data_key: String,
}

const KIND: &str = "sealed-state-dump";
/// What KMS authenticates with the data key, and notes in CloudTrail.
const CONTEXT: (&str, &str) = ("tidewatch", "state-dump");

/// Seals lines.
pub(super) struct Seal(Lines);

/// Opens sealed lines.
pub(super) struct Unseal(Lines);

struct Lines {
    key: LessSafeKey,
    header: String,
    number: u64,
}

impl Seal {
    /// With a new data key under `kms_key` (alias, id or ARN). One request, `kms:GenerateDataKey`.
    pub(super) async fn new(kms: &Client, kms_key: &str) -> Result<Self, Failure> {
        let answer = kms
            .generate_data_key()
            .key_id(kms_key)
            .key_spec(DataKeySpec::Aes256)
            .encryption_context(CONTEXT.0, CONTEXT.1)
            .send()
            .await
            .map_err(|error| Failure::from(format!("no data key under {kms_key}: {}", describe(error))))?;
        let (Some(plain), Some(sealed)) = (answer.plaintext, answer.ciphertext_blob) else {
            return Err(Failure::from(format!("KMS gave no data key under {kms_key}")));
        };
        let header = Header {
            tidewatch: KIND.to_owned(),
            version: 1,
            kms_key: answer.key_id.unwrap_or_else(|| kms_key.to_owned()),
            data_key: STANDARD.encode(sealed),
        };
        let header = serde_json::to_string(&header).map_err(|error| Failure::from(error.to_string()))?;
        Ok(Self(Lines::new(plain.as_ref(), header)?))
    }

    /// The first line of the file.
    pub(super) fn header(&self) -> &str {
        &self.0.header
    }

    pub(super) fn line(&mut self, line: &str) -> io::Result<String> {
        let (key, nonce, aad) = self.0.next();
        let mut sealed = line.as_bytes().to_vec();
        key.seal_in_place_append_tag(nonce, aad, &mut sealed)
            .map_err(|_| io::Error::other("a line could not be sealed"))?;
        Ok(STANDARD.encode(sealed))
    }
}

impl Unseal {
    /// Whether a file that begins with this line is sealed.
    pub(super) fn is_sealed(first: &str) -> bool {
        serde_json::from_str::<Header>(first).is_ok_and(|header| header.tidewatch == KIND)
    }

    /// With the data key of a file that begins with this line. One request, `kms:Decrypt`.
    pub(super) async fn open(kms: &Client, first: String) -> Result<Self, Failure> {
        let wrong = |what: String| Failure::from(format!("the sealed dump cannot be opened: {what}"));
        let header: Header = serde_json::from_str(&first).map_err(|error| wrong(error.to_string()))?;
        if header.version != 1 {
            return Err(wrong(format!("version {} is not known", header.version)));
        }
        let sealed = STANDARD
            .decode(&header.data_key)
            .map_err(|error| wrong(error.to_string()))?;
        let answer = kms
            .decrypt()
            .key_id(&header.kms_key)
            .ciphertext_blob(Blob::new(sealed))
            .encryption_context(CONTEXT.0, CONTEXT.1)
            .send()
            .await
            .map_err(|error| wrong(describe(error)))?;
        let plain = answer
            .plaintext
            .ok_or_else(|| wrong("KMS gave no key".to_owned()))?;
        Ok(Self(Lines::new(plain.as_ref(), first)?))
    }

    pub(super) fn line(&mut self, line: &str) -> io::Result<String> {
        let broken = || io::Error::other("a line was changed, moved or cut after it was sealed");
        let mut sealed = STANDARD.decode(line.trim_end()).map_err(|_| broken())?;
        let (key, nonce, aad) = self.0.next();
        let plain = key.open_in_place(nonce, aad, &mut sealed).map_err(|_| broken())?;
        String::from_utf8(plain.to_vec()).map_err(|_| broken())
    }
}

impl Lines {
    fn new(key: &[u8], header: String) -> Result<Self, Failure> {
        let key = UnboundKey::new(&AES_256_GCM, key)
            .map_err(|_| Failure::from("the data key is no AES-256 key".to_owned()))?;
        Ok(Self {
            key: LessSafeKey::new(key),
            header,
            number: 0,
        })
    }

    /// The key, and nonce and header of the next line. A data key seals one file, so no number comes twice.
    fn next(&mut self) -> (&LessSafeKey, Nonce, Aad<&[u8]>) {
        let mut nonce = [0; NONCE_LEN];
        for (to, from) in nonce.iter_mut().rev().zip(self.number.to_le_bytes()) {
            *to = from;
        }
        self.number += 1;
        (
            &self.key,
            Nonce::assume_unique_for_key(nonce),
            Aad::from(self.header.as_bytes()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Seal, Unseal) {
        let lines = || Lines::new(&[7; 32], "header".to_owned()).unwrap();
        (Seal(lines()), Unseal(lines()))
    }

    #[test]
    fn lines_come_back_in_their_places_only() {
        let (mut seal, mut unseal) = pair();
        let sealed = [seal.line("one").unwrap(), seal.line("two").unwrap()];
        assert_eq!(unseal.line(&sealed[0]).unwrap(), "one");
        assert_eq!(unseal.line(&sealed[1]).unwrap(), "two");
        let (_, mut unseal) = pair();
        assert!(unseal.line(&sealed[1]).is_err(), "moved");
        let mut other = Unseal(Lines::new(&[7; 32], "another header".to_owned()).unwrap());
        assert!(other.line(&sealed[0]).is_err(), "another file");
        let (_, mut unseal) = pair();
        assert!(
            unseal.line(&sealed[0].replacen(&sealed[0][..1], "/", 1)).is_err(),
            "changed"
        );
    }
}
