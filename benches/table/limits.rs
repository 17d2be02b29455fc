//! The least that a job needs, as programs: what remains when everything that serves a user is left out.
//!
//! They are roles of this executable, so that they are processes like the others and start like them.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::StreamExt;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

/// Runs a role.
pub(crate) fn play(role: &str, arguments: &[String]) -> ExitCode {
    let done = match (role, arguments) {
        ("tcp-get", [address, targets @ ..]) => tcp_get(address, targets),
        ("tls-get", [address, target]) => tls_get(address, target),
        ("lines", [address, target]) => lines(address, target),
        ("broadcast", []) => crate::broadcast::serve(),
        ("tungstenite-lines", [address, target]) => tungstenite_lines(address, target),
        _ => Err(io::Error::other("no such role")),
    };
    // A peer that hangs up in the middle is how some measurements end.
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn request(address: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nStream-Auth-Type: jwt\r\n\r\n")
}

/// Questions over one plain connection, one after the other; the bodies go to stdout.
fn tcp_get(address: &str, targets: &[String]) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    for target in targets {
        stream.write_all(request(address, target).as_bytes())?;
        io::stdout().write_all(&body(&mut stream)?)?;
    }
    Ok(())
}

/// One question over TLS, checked against the system's roots.
fn tls_get(address: &str, target: &str) -> io::Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut socket = TcpStream::connect(address)?;
    let mut stream = Stream::new(&mut connection, &mut socket);
    stream.write_all(request(address, target).as_bytes())?;
    let body = body(&mut stream)?;
    io::stdout().write_all(&body)
}

/// The body of an answer with a length.
fn body(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut answer = Vec::with_capacity(16 * 1024);
    let mut chunk = [0; 16 * 1024];
    loop {
        if let Some(end) = memchr::memmem::find(&answer, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .and_then(|length| length.trim().parse::<usize>().ok())
                .ok_or_else(|| io::Error::other("an answer without a length"))?;
            let mut body = answer.split_off(end + 4);
            let had = body.len();
            body.resize(length, 0);
            stream.read_exact(&mut body[had.min(length)..])?;
            return Ok(body);
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => answer.extend_from_slice(&chunk[..count]),
        }
    }
}

/// Copies the frames of a socket to stdout, a line each, unread.
fn lines(address: &str, target: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(upgrade(address, target).as_bytes())?;
    let mut buffer = vec![0; 256 * 1024];
    let mut filled = 0;
    let mut out = Vec::with_capacity(2 * buffer.len());
    loop {
        filled += stream.read(&mut buffer[filled..])?;
        if let Some(end) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") {
            buffer.copy_within(end + 4..filled, 0);
            filled -= end + 4;
            break;
        }
    }
    let mut stdout = io::stdout().lock();
    loop {
        let mut at = 0;
        while let Some((opcode, start, end)) = next_frame(&buffer[at..filled]) {
            if opcode == 8 {
                return stdout.write_all(&out);
            }
            out.extend_from_slice(&buffer[at + start..at + end]);
            out.push(b'\n');
            at += end;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        write_past_the_line_buffer(&mut stdout, &out)?;
        out.clear();
        match stream.read(&mut buffer[filled..])? {
            0 => return Ok(()),
            count => filled += count,
        }
    }
}

/// Standard output looks for the last line feed in what it is given; a long text that ends with one goes through whole.
fn write_past_the_line_buffer(stdout: &mut io::StdoutLock<'_>, out: &[u8]) -> io::Result<()> {
    stdout.write_all(out)?;
    stdout.flush()
}

/// The same with the usual library, a line at a time.
fn tungstenite_lines(address: &str, target: &str) -> io::Result<()> {
    let copy = async {
        let url = format!("ws://{address}{target}");
        let (mut socket, _) = tokio_tungstenite::connect_async(url)
            .await
            .map_err(io::Error::other)?;
        let mut line = Vec::new();
        while let Some(message) = socket.next().await {
            line.clear();
            line.extend_from_slice(&message.map_err(io::Error::other)?.into_data());
            line.push(b'\n');
            write_past_the_line_buffer(&mut io::stdout().lock(), &line)?;
        }
        Ok(())
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(copy)
}

/// The request that opens a socket.
pub(crate) fn upgrade(address: &str, target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// The first whole frame of a server: its opcode, and where its payload starts and ends.
pub(crate) fn next_frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (start, length) = match *bytes {
        [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
        [_, 127, ..] => (
            10,
            usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?,
        ),
        [_, short, ..] if short < 126 => (2, usize::from(short)),
        _ => return None,
    };
    let end = start + length;
    (bytes.len() >= end).then(|| (bytes[0] & 15, start, end))
}
