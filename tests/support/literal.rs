//! A server that knows no HTTP: it answers with the bytes a test wrote down and hands back the bytes it was sent, so
//! that a mistake shared by an encoder and a decoder cannot hide.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

use super::{Presencectl, Run};

/// What the server was sent, request by request. It ends once every answer is given.
pub(crate) type Requests = JoinHandle<Vec<String>>;

/// Gives each answer to one connection, in order. An empty answer closes the connection after the request.
pub(crate) async fn serve(answers: Vec<String>) -> (Url, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let requests = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            requests.push(read_request(&mut stream).await);
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
        requests
    });
    (url, requests)
}

/// Runs a command against a server that gives these answers, and returns what the server was sent, too.
pub(crate) fn run_against(
    command: Presencectl,
    stdin: &str,
    answers: Vec<String>,
) -> (Run, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (url, requests) = runtime.block_on(serve(answers));
    let run = command.at_url(url.as_str(), "k", "s").run_with(stdin);
    (run, runtime.block_on(requests).unwrap())
}

/// An answer with a JSON body.
pub(crate) fn json(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Reads one request, head and body.
pub(crate) async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length: usize = head
                .lines()
                .find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.trim().parse().unwrap())
                })
                .unwrap_or(0);
            if body.len() >= length {
                return text;
            }
        }
        assert_ne!(
            n, 0,
            "the client hung up in the middle of a request: {text}"
        );
    }
}
