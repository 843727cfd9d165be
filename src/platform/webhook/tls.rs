//! The same request over TLS. The roots that are trusted are built in, as for Telegram.

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Certificate, Client, Method};

use super::{ANSWER_MAX_BYTES, Answer, WebhookError, is_plain};

/// `more` is trusted besides what is built in.
pub(super) fn send(
    method: &str,
    url: &str,
    body: Option<&[u8]>,
    limit: Duration,
    more: &[Certificate],
) -> Result<Answer, WebhookError> {
    let url = reqwest::Url::parse(url)
        .ok()
        .filter(|parsed| parsed.username().is_empty() && parsed.password().is_none())
        .filter(|parsed| is_plain(url, parsed.host_str().unwrap_or_default()))
        .ok_or(WebhookError::NotHttp)?;
    let mut client = Client::builder().timeout(limit).user_agent("lucid").https_only(true);
    for root in more {
        client = client.add_root_certificate(root.clone());
    }
    let client = client.build().map_err(|_| WebhookError::NoTls)?;
    let method = if method == "POST" { Method::POST } else { Method::GET };
    let mut request = client.request(method, url);
    if let Some(body) = body {
        request = request.header("Content-Type", "application/json").body(body.to_vec());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(WebhookError::Broken)?;
    runtime.block_on(async {
        let mut answer = request.send().await.map_err(|e| failed(e, limit))?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while (body.len() as u64) < ANSWER_MAX_BYTES
            && let Some(piece) = answer.chunk().await.map_err(|e| failed(e, limit))?
        {
            body.extend_from_slice(&piece);
        }
        body.truncate(usize::try_from(ANSWER_MAX_BYTES).unwrap_or(usize::MAX));
        Ok(Answer { status, body })
    })
}

/// The cause alone: an error of the client's own words names the URL.
fn failed(error: reqwest::Error, limit: Duration) -> WebhookError {
    if error.is_timeout() {
        return WebhookError::TimedOut { after: limit };
    }
    let error = error.without_url();
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(deeper) = cause {
        text = deeper.to_string();
        cause = deeper.source();
    }
    WebhookError::Unreachable(text)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);
    /// Of `localhost`, until 2126, and for nothing but this test.
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBmDCCAT6gAwIBAgIUOkm7QZNt9P3A9g+5GySO5D/AYA4wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNzA3MDYzMVoYDzIxMjYxMTAz
MDcwNjMxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATN7P9jLnh0zpyD1sSktpUDmh3ChM3yFTqJ/97bFU8h3LniULLCF39J
xigiCoa3bTe/BkcpWsN9lyz/3CUUUJEXo2wwajAdBgNVHQ4EFgQUtNTPRe/YchKn
soow6XYN+wWXI0gwHwYDVR0jBBgwFoAUtNTPRe/YchKnsoow6XYN+wWXI0gwGgYD
VR0RBBMwEYIJbG9jYWxob3N0hwR/AAABMAwGA1UdEwEB/wQCMAAwCgYIKoZIzj0E
AwIDSAAwRQIgfPtykg8B80oeWggBiZO4hz3GKW+GCup5pnknRWKYhZcCIQCR7Wsl
p8v/bZDVNiJFwLt2EQdSVaJfGRcd+aZx4stUKw==
-----END CERTIFICATE-----
";
    /// Its key, PKCS #8 in hexadecimal.
    const KEY: &str = "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b020101042067fa88d2360cd0db4c3bfdab\
        433658d45ff6b8f64bec55df37b007bb2fb47b1ca14403420004cdecff632e7874ce9c83d6c4a4b695039a1dc284cdf2\
        153a89ffdedb154f21dcb9e250b2c2177f49c628220a86b76d37bf0647295ac37d972cffdc2514509117";

    /// A server over TLS that answers once; gives what it was sent.
    fn served() -> (String, std::thread::JoinHandle<Option<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}/ping/secret?a=b", listener.local_addr().unwrap().port());
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
        let byte = |at: usize| u8::from_str_radix(&KEY[at..at + 2], 16).unwrap();
        let key: Vec<u8> = (0..KEY.len()).step_by(2).map(byte).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut session = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = rustls::Stream::new(&mut session, &mut socket);
            let mut heard = vec![0; 4096];
            let n = stream.read(&mut heard).ok()?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok()?;
            Some(String::from_utf8_lossy(&heard[..n]).into_owned())
        });
        (url, server)
    }

    #[test]
    fn a_ping_over_tls_arrives() {
        let (url, server) = served();
        let root = Certificate::from_pem(CERTIFICATE.as_bytes()).unwrap();
        let answer = send("GET", &url, None, LIMIT, &[root]).unwrap();
        assert_eq!(answer, Answer { status: 200, body: b"ok".to_vec() });
        let heard = server.join().unwrap().unwrap();
        assert!(heard.starts_with("GET /ping/secret?a=b HTTP/1.1\r\n"), "{heard}");
    }

    #[test]
    fn who_nobody_vouches_for_is_not_spoken_to() {
        let (url, server) = served();
        let error = send("GET", &url, None, LIMIT, &[]).unwrap_err().to_string();
        assert!(error.contains("certificate") && !error.contains("secret"), "{error}");
        assert_eq!(server.join().unwrap(), None);
    }

    #[test]
    fn silence_ends_at_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}/secret", listener.local_addr().unwrap().port());
        let error = send("GET", &url, None, Duration::from_millis(300), &[]).unwrap_err();
        assert!(matches!(error, WebhookError::TimedOut { .. }), "{error}");
    }
}
