//! As much HTTP as it takes to ask a server on this machine: one request a connection, form in, body out.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Status and body.
pub(crate) type Response = (u16, Vec<u8>);

/// GET without a form, POST with one. Blocks for at most a minute.
pub(crate) fn ask(port: u16, path: &str, form: &[(&str, &str)]) -> Result<Response, String> {
    let fail = |e: std::io::Error| format!("127.0.0.1:{port}{path}: {e}");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).map_err(fail)?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(fail)?;
    stream.set_write_timeout(Some(Duration::from_secs(60))).map_err(fail)?;
    let body: Vec<String> = form.iter().map(|(key, value)| format!("{key}={}", escape(value))).collect();
    let body = body.join("&");
    let method = if form.is_empty() { "GET" } else { "POST" };
    // HTTP/1.0: the answer is not chunked and ends with the connection.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(fail)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(fail)?;
    split(&answer).ok_or_else(|| format!("127.0.0.1:{port}{path}: the answer is not HTTP"))
}

fn split(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.strip_prefix("HTTP/")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer[end + 4..].to_vec()))
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_letters_and_digits_is_escaped() {
        assert_eq!(escape("a{b=~\".+\"}"), "a%7Bb%3D%7E%22%2E%2B%22%7D");
    }

    #[test]
    fn status_and_body_are_taken_apart() {
        let (status, body) = split(b"HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\nnot yet").unwrap();
        assert_eq!((status, body.as_slice()), (503, &b"not yet"[..]));
        assert!(split(b"something else").is_none());
    }
}
