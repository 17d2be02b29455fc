//! Byte sizes on the command line: `512KiB`, `64MiB`, `1GiB`, or a plain number.

use std::str::FromStr;

/// A number of bytes, greater than zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub usize);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits_end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits_end);
        let shift = match unit {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err("expected a number with B, KiB, MiB or GiB, such as 64MiB".to_owned()),
        };
        number
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_mul(1 << shift))
            .filter(|&bytes| bytes > 0)
            .map(Self)
            .ok_or_else(|| "expected a size greater than zero, such as 64MiB".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in [("1", 1), ("7B", 7), ("2KiB", 2048), ("64MiB", 64 << 20)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for wrong in [
            "",
            "0",
            "KiB",
            "1kb",
            "-1",
            "1.5MiB",
            "99999999999999999999GiB",
        ] {
            assert!(wrong.parse::<ByteSize>().is_err(), "{wrong}");
        }
    }
}
