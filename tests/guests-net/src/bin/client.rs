//! A client like any other: it fetches the URL that is its argument with reqwest, by name, over TLS,
//! and prints what came back.
//!
//! The authority that it trusts, and no other, is in the variable `CA`: a certificate in PEM without
//! its first and last line and without line ends, so that it fits on a command line.

use std::env;
use std::error::Error;
use std::time::Duration;

use reqwest::{Certificate, Client};

/// A server that says nothing for so long is not there.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most that is read of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args()
        .nth(1)
        .ok_or("the argument is a URL, as in `client https://www.example/`")?;
    let authority = env::var("CA").map_err(|error| format!("the variable CA: {error}"))?;
    let pem = format!("-----BEGIN CERTIFICATE-----\n{authority}\n-----END CERTIFICATE-----\n");
    let client = Client::builder()
        .add_root_certificate(Certificate::from_pem(pem.as_bytes())?)
        .https_only(true)
        .timeout(PATIENCE)
        .build()?;
    let mut response = client.get(url).send().await?;
    println!("client: {:?} {}", response.version(), response.status());
    let mut answer = Vec::new();
    while let Some(piece) = response.chunk().await? {
        answer.extend_from_slice(&piece);
        if answer.len() > ANSWER_BYTES_MAX {
            return Err("the answer is too long".into());
        }
    }
    println!("client: {}", String::from_utf8_lossy(&answer).trim_end());
    println!("guest client: ok");
    Ok(())
}
