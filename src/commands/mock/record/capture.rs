//! Bodies that pass through, and a copy of them up to a limit.

use std::io::Read;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::Value;

/// The largest body that is recorded, before and after decompression. A larger one passes, and is left out of the
/// recording.
pub(super) const RECORDED_BODY_MAX_BYTES: usize = 64 * 1024 * 1024;

/// The copy of a body.
#[derive(Debug, Clone, Default)]
pub(super) struct CapturedBody(Arc<Mutex<CapturedBytes>>);

#[derive(Debug, Default)]
struct CapturedBytes {
    bytes: Vec<u8>,
    is_too_large: bool,
}

/// What is recorded of a body.
#[derive(Debug, Default, PartialEq)]
pub(super) struct BodyContent {
    /// Its JSON.
    pub(super) json: Option<Value>,
    /// Why there is no JSON, if there was a body.
    pub(super) omitted: Option<String>,
}

impl CapturedBody {
    fn lock(&self) -> MutexGuard<'_, CapturedBytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, data: &[u8]) {
        let mut captured = self.lock();
        if captured.bytes.len() + data.len() > RECORDED_BODY_MAX_BYTES {
            captured.is_too_large = true;
            captured.bytes = Vec::new();
        }
        if !captured.is_too_large {
            captured.bytes.extend_from_slice(data);
        }
    }

    /// The JSON of the body, which has this content encoding.
    pub(super) fn content(&self, encoding: Option<&str>) -> BodyContent {
        let captured = self.lock();
        if captured.is_too_large {
            return omitted(too_large());
        }
        match decompress(&captured.bytes, encoding) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => BodyContent::default(),
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(json) => BodyContent {
                    json: Some(json),
                    omitted: None,
                },
                Err(_) => omitted("it is not JSON".to_owned()),
            },
            Err(reason) => omitted(reason),
        }
    }
}

fn omitted(reason: String) -> BodyContent {
    BodyContent {
        json: None,
        omitted: Some(reason),
    }
}

fn too_large() -> String {
    format!(
        "it is larger than {} MiB",
        RECORDED_BODY_MAX_BYTES / (1024 * 1024)
    )
}

fn decompress(bytes: &[u8], encoding: Option<&str>) -> Result<Vec<u8>, String> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    match encoding.map(str::trim).filter(|name| !name.is_empty()) {
        None | Some("identity") => Ok(bytes.to_vec()),
        Some("gzip" | "x-gzip") => read_bounded(MultiGzDecoder::new(bytes)),
        // Some servers send the bare stream without the header that the name stands for.
        Some("deflate") => match read_bounded(ZlibDecoder::new(bytes)) {
            Err(_) => read_bounded(DeflateDecoder::new(bytes)),
            read => read,
        },
        Some(_) => Err("its content encoding is neither gzip nor deflate".to_owned()),
    }
}

fn read_bounded(reader: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let limit = RECORDED_BODY_MAX_BYTES as u64 + 1;
    reader
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|_| "it cannot be decompressed".to_owned())?;
    if bytes.len() > RECORDED_BODY_MAX_BYTES {
        return Err(too_large());
    }
    Ok(bytes)
}

/// What is called when a body has ended, with whether it is whole.
type OnEnd = Box<dyn FnOnce(bool) + Send>;

/// A body that is copied while it passes.
pub(super) struct CapturingBody<B: Body> {
    // A lock that is never contended: the HTTP client wants to share bodies between threads.
    inner: Mutex<PassingBody<B>>,
}

struct PassingBody<B: Body> {
    body: B,
    captured: CapturedBody,
    /// How many bytes are still to come, if that is known.
    left: Option<u64>,
    on_end: Option<OnEnd>,
}

impl<B: Body> CapturingBody<B> {
    /// Copies a body into `captured`.
    pub(super) fn new(body: B, captured: CapturedBody) -> Self {
        Self::with_end(body, captured, None, None)
    }

    /// Copies a body, which has this many bytes if that is known. Calls `on_end` before its last bytes are passed on, or
    /// when it is dropped.
    pub(super) fn with_end(
        body: B,
        captured: CapturedBody,
        length: Option<u64>,
        on_end: Option<OnEnd>,
    ) -> Self {
        Self {
            inner: Mutex::new(PassingBody {
                body,
                captured,
                left: length,
                on_end,
            }),
        }
    }
}

impl<B: Body> PassingBody<B> {
    fn end(&mut self, is_whole: bool) {
        if let Some(on_end) = self.on_end.take() {
            on_end(is_whole);
        }
    }
}

impl<B: Body> Drop for PassingBody<B> {
    fn drop(&mut self) {
        let is_whole = self.body.is_end_stream() || self.left == Some(0);
        self.end(is_whole);
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for CapturingBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let inner = self.get_mut().inner.get_mut();
        let inner = inner.unwrap_or_else(PoisonError::into_inner);
        let polled = ready!(Pin::new(&mut inner.body).poll_frame(cx));
        match &polled {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    inner.captured.push(data);
                    inner.left = inner
                        .left
                        .map(|left| left.saturating_sub(data.len() as u64));
                    // A body of a known length is not asked for its end.
                    if inner.left == Some(0) {
                        inner.end(true);
                    }
                }
            }
            Some(Err(_)) => inner.end(false),
            None => inner.end(true),
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use serde_json::json;

    use super::*;

    fn content(bytes: &[u8], encoding: Option<&str>) -> BodyContent {
        let captured = CapturedBody::default();
        captured.push(bytes);
        captured.content(encoding)
    }

    #[test]
    fn bodies_are_read_in_every_encoding_that_clients_are_offered() {
        let text = br#"{"a":1}"#;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(text).unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(text).unwrap();
        for (bytes, encoding) in [
            (text.to_vec(), None),
            (gzip.finish().unwrap(), Some("gzip")),
            (zlib.finish().unwrap(), Some("deflate")),
            (bare.finish().unwrap(), Some("deflate")),
        ] {
            assert_eq!(
                content(&bytes, encoding).json,
                Some(json!({"a": 1})),
                "{encoding:?}"
            );
        }
        assert_eq!(content(b"", Some("gzip")), BodyContent::default());
        for (bytes, encoding, reason) in [
            (&b"<html>"[..], None, "it is not JSON"),
            (b"{}", Some("gzip"), "it cannot be decompressed"),
            (
                b"{}",
                Some("br"),
                "its content encoding is neither gzip nor deflate",
            ),
        ] {
            assert_eq!(content(bytes, encoding).omitted.unwrap(), reason);
        }
    }

    #[test]
    fn a_bomb_is_left_out() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![0; 1 << 20];
        for _ in 0..65 {
            gzip.write_all(&zeros).unwrap();
        }
        let reason = content(&gzip.finish().unwrap(), Some("gzip")).omitted;
        assert_eq!(reason.unwrap(), "it is larger than 64 MiB");
    }
}
