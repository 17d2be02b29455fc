//! One HTTP request as literal text, and its answer taken apart.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

/// An answer: status, headers with lower-case names, body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// Asserts the status and gives the body.
    #[track_caller]
    pub(crate) fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }
}

/// Sends a request whose head is written out (lines end with `\n`; no `Host`, no length), and reads the answer.
#[track_caller]
pub(crate) fn send(url: &str, head: &str, body: Option<&str>) -> Answer {
    let mut stream = super::connect(url);
    let length = body.map_or_else(String::new, |body| {
        format!("Content-Length: {}\r\n", body.len())
    });
    let request = format!(
        "{}Host: localhost\r\nConnection: close\r\n{length}\r\n{}",
        lines_of(head),
        body.unwrap_or_default()
    );
    stream
        .write_all(request.as_bytes())
        .expect("the server reads the request");
    let mut reader = BufReader::new(stream);
    let (status, headers) = read_head(&mut reader);
    let body = read_body(&mut reader, &headers);
    Answer {
        status,
        headers,
        body,
    }
}

/// The head with the line ends that HTTP wants.
pub(super) fn lines_of(head: &str) -> String {
    head.trim()
        .lines()
        .map(|line| format!("{}\r\n", line.trim()))
        .collect()
}

/// Reads a status line and headers.
pub(super) fn read_head(reader: &mut BufReader<TcpStream>) -> (u16, Vec<(String, String)>) {
    let mut line = || {
        let mut text = String::new();
        reader.read_line(&mut text).expect("an answer in time");
        text.trim_end().to_owned()
    };
    let first = line();
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no status line: {first:?}"));
    let mut headers = Vec::new();
    loop {
        let text = line();
        let Some((name, value)) = text.split_once(':') else {
            return (status, headers);
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_body(reader: &mut BufReader<TcpStream>, headers: &[(String, String)]) -> String {
    let header = |name: &str| headers.iter().find(|(found, _)| found == name);
    let mut body = Vec::new();
    if header("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).expect("the size of a chunk");
            let size = usize::from_str_radix(size.trim(), 16).expect("a size in hexadecimal");
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).expect("a whole chunk");
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some((_, length)) = header("content-length") {
        body.resize(length.parse().expect("a length"), 0);
        reader.read_exact(&mut body).expect("a whole body");
    } else {
        reader.read_to_end(&mut body).expect("a whole body");
    }
    String::from_utf8(body).expect("a body in UTF-8")
}
