//! Inputs of a report: files or standard input, plain or compressed with gzip or zstd.
//!
//! The first bytes of a file decide its format, not its name. Lines are read in blocks, so that they need not be copied
//! one by one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::exit::{Code, Failure};

/// How many bytes are read at once.
const BLOCK_BYTES: usize = 256 * 1024;
/// The longest line that is read, in bytes.
const LINE_MAX_BYTES: usize = 64 * 1024 * 1024;

/// A file or standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputSource {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl InputSource {
    /// Parses an argument: a path, or `-` for standard input.
    pub fn from_argument(path: &Path) -> Self {
        if path.as_os_str() == "-" {
            Self::Stdin
        } else {
            Self::File(path.to_owned())
        }
    }

    /// The name for messages.
    pub fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Opens the input.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or its first bytes cannot be read.
    pub fn open(&self) -> Result<Blocks, Failure> {
        let blocks = match self {
            Self::Stdin => Blocks::new(io::stdin()),
            Self::File(path) => File::open(path).and_then(Blocks::new),
        };
        blocks.map_err(|error| {
            Failure::new(Code::Usage, format!("cannot read {}: {error}", self.name()))
                .hinted("name files that `watch --tee` wrote, or - to read standard input")
        })
    }
}

/// Blocks of whole lines.
pub struct Blocks {
    reader: Box<dyn Read + Send>,
    /// The start of a line whose end is not read yet.
    rest: Vec<u8>,
    started: bool,
    ended: bool,
    truncated: bool,
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocks")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Blocks {
    /// Reads from any source.
    ///
    /// # Errors
    ///
    /// The first bytes cannot be read.
    pub fn new(reader: impl Read + Send + 'static) -> io::Result<Self> {
        let mut reader = BufReader::with_capacity(BLOCK_BYTES, reader);
        let reader: Box<dyn Read + Send> = match reader.fill_buf()? {
            [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(reader)),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Box::new(ZstdFrames::new(reader))
            }
            _ => Box::new(reader),
        };
        Ok(Self {
            reader,
            rest: Vec::new(),
            started: false,
            ended: false,
            truncated: false,
        })
    }

    /// Whether the compressed data is incomplete.
    pub const fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Reads the next block of whole lines into `block`. Only the very last line may lack its line feed. Returns
    /// `false` at the end.
    ///
    /// # Errors
    ///
    /// Reading or decompressing fails, or a line is too long.
    pub fn next(&mut self, block: &mut Vec<u8>) -> io::Result<bool> {
        block.clear();
        std::mem::swap(block, &mut self.rest);
        while !self.ended {
            let start = block.len();
            block.resize(start + BLOCK_BYTES, 0);
            let read = match self.reader.read(&mut block[start..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    block.truncate(start);
                    continue;
                }
                // A compressed file may still be written, or its writer was killed. The part that exists counts.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.truncated = true;
                    0
                }
                Err(error) => return Err(error),
            };
            block.truncate(start + read);
            self.ended = read == 0;
            if !self.started && block.len() >= 3 {
                self.started = true;
                if block.starts_with(b"\xef\xbb\xbf") {
                    block.drain(..3);
                }
            }
            if let Some(end) = memchr::memrchr(b'\n', &block[start.min(block.len())..]) {
                let end = start.min(block.len()) + end + 1;
                self.rest.extend_from_slice(&block[end..]);
                block.truncate(end);
                return Ok(true);
            }
            if block.len() > LINE_MAX_BYTES {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("a line is longer than {} MiB", LINE_MAX_BYTES >> 20),
                ));
            }
        }
        Ok(!block.is_empty())
    }
}

/// Decodes all frames of a zstd file in sequence; the library decodes only one.
struct ZstdFrames<R> {
    reader: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            decoder: FrameDecoder::new(),
            in_frame: false,
        }
    }

    /// The error for incomplete or corrupt compressed data.
    fn failed(&mut self, error: FrameDecoderError) -> io::Error {
        match self.reader.fill_buf() {
            Ok([]) => io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => io::Error::new(io::ErrorKind::InvalidData, error),
            Err(error) => error,
        }
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame {
                if self.reader.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                match self.decoder.reset(&mut self.reader) {
                    Ok(()) => self.in_frame = true,
                    Err(FrameDecoderError::ReadFrameHeaderError(
                        ReadFrameHeaderError::SkipFrame { length, .. },
                    )) => {
                        let mut skipped = (&mut self.reader).take(length.into());
                        io::copy(&mut skipped, &mut io::sink())?;
                        continue;
                    }
                    Err(error) => return Err(self.failed(error)),
                }
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let step = BlockDecodingStrategy::UptoBlocks(1);
                if let Err(error) = self.decoder.decode_blocks(&mut self.reader, step) {
                    return Err(self.failed(error));
                }
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            self.in_frame = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn read(bytes: Vec<u8>) -> (String, bool) {
        let mut blocks = Blocks::new(io::Cursor::new(bytes)).unwrap();
        let (mut text, mut block) = (String::new(), Vec::new());
        while blocks.next(&mut block).unwrap() {
            text.push_str(std::str::from_utf8(&block).unwrap());
        }
        (text, blocks.is_truncated())
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &str) -> Vec<u8> {
        compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
    }

    #[test]
    fn plain_and_compressed_files_read_the_same() {
        let text = "a line of some length\n".repeat(50_000) + "and one without an end";
        let (start, rest) = text.split_at(300_000);
        for bytes in [
            text.clone().into_bytes(),
            [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat(),
            gzip(&text),
            [gzip(start), gzip(rest)].concat(),
            zstd(&text),
            [zstd(start), zstd(rest)].concat(),
            [
                b"\x50\x2a\x4d\x18\x02\x00\x00\x00xx".as_slice(),
                &zstd(&text),
            ]
            .concat(),
        ] {
            let (read, truncated) = read(bytes);
            assert!(
                read == text,
                "{} bytes instead of {}",
                read.len(),
                text.len()
            );
            assert!(!truncated);
        }
        assert_eq!(read(Vec::new()), (String::new(), false));
    }

    #[test]
    fn what_a_truncated_file_holds_is_read() {
        let text: String = (0..100_000).map(|n| format!("{n}\n")).collect();
        for whole in [gzip(&text), zstd(&text)] {
            let (read, truncated) = read(whole[..whole.len() / 2].to_vec());
            assert!(text.starts_with(&read) && !read.is_empty() && truncated);
        }
    }
}
