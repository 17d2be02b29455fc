//! URL paths: their segments without percent encoding.

use url::form_urlencoded;

/// The segments of a path, decoded.
pub(crate) fn path_segments(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/')?;
    Some(
        path.trim_end_matches('/')
            .split('/')
            .map(decode_segment)
            .collect(),
    )
}

/// A path segment without its percent encoding.
pub(crate) fn decode_segment(segment: &str) -> String {
    if !segment.contains('%') {
        return segment.to_owned();
    }
    // The decoder is made for forms, so characters that have a meaning in forms are protected from it.
    let protected = segment
        .replace('+', "%2B")
        .replace('&', "%26")
        .replace('=', "%3D");
    form_urlencoded::parse(protected.as_bytes())
        .next()
        .map(|(key, _)| key.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_decoded_as_paths_and_not_as_forms() {
        assert_eq!(
            path_segments("/channels/messaging/a%2Bb%20c+d/").unwrap(),
            ["channels", "messaging", "a+b c+d"]
        );
    }
}
