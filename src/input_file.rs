//! Reads text files of a limited size, so that a wrong name, such as that of a device, does not fill the memory.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Reads a text file, or stdin for the name `-`.
///
/// # Errors
///
/// The file cannot be read, is not UTF-8, or has more bytes than allowed.
pub(crate) fn read_text(path: &Path, max_bytes: u64) -> io::Result<String> {
    if path == Path::new("-") {
        return read_bounded(io::stdin().lock(), max_bytes);
    }
    read_bounded(File::open(path)?, max_bytes)
}

fn read_bounded(reader: impl Read, max_bytes: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    // One byte more, which says that there are too many.
    reader.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let limit = max_bytes / (1024 * 1024);
        let why = format!("it is larger than {limit} MiB");
        return Err(io::Error::new(ErrorKind::FileTooLarge, why));
    }
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not valid UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        const LIMIT: u64 = 1024 * 1024;
        let text = "x".repeat(1024 * 1024);
        assert_eq!(read_bounded(text.as_bytes(), LIMIT).unwrap(), text);
        let endless = read_bounded(io::repeat(b'x'), LIMIT).unwrap_err();
        assert_eq!(endless.to_string(), "it is larger than 1 MiB");
        let binary = read_bounded(&b"\xff"[..], LIMIT).unwrap_err();
        assert_eq!(binary.to_string(), "it is not valid UTF-8");
    }
}
