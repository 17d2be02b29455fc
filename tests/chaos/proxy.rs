//! The wire between the watcher and the mock: it carries bytes, and breaks when it is told to.
//!
//! Tricks are played on the watcher's WebSocket, on the answer to a request, on attempts to connect, or on all
//! connections at once. One that finds no WebSocket, or no answer, waits for the next.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

use super::schedule::Trick;

#[derive(Debug, Default)]
struct Plan {
    waiting: VecDeque<Trick>,
    refuse: u32,
    swallow: u32,
    played: BTreeMap<&'static str, u64>,
}

/// The proxy, as its director holds it.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    mock: SocketAddr,
    plan: Mutex<Plan>,
    news: Notify,
    /// Counts how often all open connections fell silent.
    silences: watch::Sender<u32>,
    /// Counts the pieces of requests that were sent on connections after they had fallen silent.
    lost_requests: AtomicU32,
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap()
    }

    /// The next trick for the WebSocket. One is in force from the moment it is taken.
    fn next_trick(&self) -> Option<Trick> {
        let mut plan = self.plan();
        let trick = plan.waiting.pop_front()?;
        *plan.played.entry(trick.name()).or_default() += 1;
        Some(trick)
    }

    async fn trick(&self) -> Trick {
        loop {
            if let Some(trick) = self.next_trick() {
                return trick;
            }
            self.news.notified().await;
        }
    }

    fn refuses(&self) -> bool {
        let mut plan = self.plan();
        if plan.refuse == 0 {
            return false;
        }
        plan.refuse -= 1;
        true
    }

    fn swallows(&self) -> bool {
        let mut plan = self.plan();
        let swallows = plan.swallow > 0;
        plan.swallow -= u32::from(swallows);
        swallows
    }
}

impl Proxy {
    pub(crate) async fn start(mock: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(Shared {
                mock,
                plan: Mutex::default(),
                news: Notify::new(),
                silences: watch::Sender::new(0),
                lost_requests: AtomicU32::new(0),
            }),
        };
        let shared = proxy.shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    // How a connection ends is for the two at its ends to tell.
                    let _ = carry(client, shared).await;
                });
            }
        });
        proxy
    }

    /// Has a trick played.
    pub(crate) fn play(&self, trick: Trick) {
        let mut plan = self.shared.plan();
        match trick {
            Trick::Refuse(times) => plan.refuse += times,
            Trick::Swallow => plan.swallow += 1,
            Trick::Silence => self.shared.silences.send_modify(|count| *count += 1),
            for_the_socket => plan.waiting.push_back(for_the_socket),
        }
        if let Trick::Refuse(_) | Trick::Swallow | Trick::Silence = trick {
            *plan.played.entry(trick.name()).or_default() += 1;
        }
        drop(plan);
        self.shared.news.notify_one();
    }

    /// Plays no further tricks.
    pub(crate) fn behave(&self) {
        let mut plan = self.shared.plan();
        plan.waiting.clear();
        plan.refuse = 0;
        plan.swallow = 0;
    }

    /// Whether a request was sent on a connection that had fallen silent.
    pub(crate) fn has_lost_requests(&self) -> bool {
        self.shared.lost_requests.load(Ordering::Relaxed) > 0
    }

    /// What was played, by name.
    pub(crate) fn played(&self) -> BTreeMap<&'static str, u64> {
        self.shared.plan().played.clone()
    }
}

async fn carry(client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    client.set_nodelay(true)?;
    if shared.refuses() {
        return client.set_zero_linger();
    }
    let silences = shared.silences.subscribe();
    let mock = TcpStream::connect(shared.mock).await?;
    mock.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_mock, to_mock) = mock.into_split();
    // A connection carries requests first, and may become a WebSocket later.
    let (upgraded, is_socket) = watch::channel(false);
    let up = carry_up(
        from_client,
        to_mock,
        upgraded,
        silences.clone(),
        shared.clone(),
    );
    let up = tokio::spawn(up);
    let ending = carry_down(from_mock, to_client, is_socket, silences, &shared).await;
    match ending {
        Ok(Ending::Stalled(_held)) => {
            // What the client sends is discarded from now on; this waits for the client to close.
            let _ = up.await;
        }
        Ok(Ending::Ended) | Err(_) => up.abort(),
    }
    Ok(())
}

async fn carry_up(
    mut from_client: OwnedReadHalf,
    mut to_mock: OwnedWriteHalf,
    upgraded: watch::Sender<bool>,
    silences: watch::Receiver<u32>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = from_client.read(&mut buffer).await?;
        if silences.has_changed().unwrap_or(false) && n > 0 {
            if !*upgraded.borrow() {
                shared.lost_requests.fetch_add(1, Ordering::Relaxed);
            }
            continue;
        }
        if n == 0 {
            return to_mock.shutdown().await;
        }
        if buffer.starts_with(b"GET /connect") {
            upgraded.send_replace(true);
        }
        to_mock.write_all(&buffer[..n]).await?;
    }
}

/// How the way down to the client ended.
enum Ending {
    Ended,
    /// Nothing is carried any more, and both ends are held.
    Stalled((OwnedReadHalf, OwnedWriteHalf)),
}

/// Carries what the mock sends until one side ends it, or a trick does.
async fn carry_down(
    mut from_mock: OwnedReadHalf,
    mut to_client: OwnedWriteHalf,
    mut is_socket: watch::Receiver<bool>,
    mut silences: watch::Receiver<u32>,
    shared: &Shared,
) -> io::Result<Ending> {
    let mut next: Option<Trick> = None;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let is_upgraded = *is_socket.borrow();
        let trick = async {
            // The other direction may end first; then this is no socket any more.
            if is_socket.wait_for(|is_socket| *is_socket).await.is_err() {
                std::future::pending::<()>().await;
            }
            shared.trick().await
        };
        tokio::select! {
            biased;
            _ = silences.changed() => return Ok(Ending::Stalled((from_mock, to_client))),
            trick = trick, if next.is_none() => match trick {
                Trick::Cut => return to_client.shutdown().await.map(|()| Ending::Ended),
                Trick::Reset => {
                    to_client.as_ref().set_zero_linger()?;
                    return Ok(Ending::Ended);
                }
                Trick::Stall => return Ok(Ending::Stalled((from_mock, to_client))),
                Trick::Hiccup(long) => tokio::time::sleep(Duration::from_millis(long)).await,
                for_the_next => next = Some(for_the_next),
            },
            read = from_mock.read(&mut buffer) => {
                let n = read?;
                if n == 0 {
                    return to_client.shutdown().await.map(|()| Ending::Ended);
                }
                if !is_upgraded && shared.swallows() {
                    return Ok(Ending::Stalled((from_mock, to_client)));
                }
                let bytes = &mut buffer[..n];
                match next.take() {
                    Some(Trick::Half) => {
                        to_client.write_all(&bytes[..n / 2]).await?;
                        return to_client.shutdown().await.map(|()| Ending::Ended);
                    }
                    Some(Trick::Garble) => {
                        bytes[0] = 0xff;
                        to_client.write_all(bytes).await?;
                    }
                    Some(Trick::Trickle) => {
                        for byte in bytes {
                            to_client.write_all(&[*byte]).await?;
                            tokio::task::yield_now().await;
                        }
                    }
                    _ => to_client.write_all(bytes).await?,
                }
            }
        }
    }
}
