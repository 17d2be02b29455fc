//! Glob patterns: `*` matches any text, `?` matches any one character.

use std::fmt;

use wildmatch::WildMatch;

/// A glob pattern. Matching takes linear time for the usual patterns and never backtracks exponentially.
#[derive(Debug, Clone, PartialEq)]
pub struct Glob {
    pattern: String,
    /// For a pattern whose only wildcard is a `*` at its end, the length of the text before it. This is the usual form,
    /// and it is matched against every event.
    prefix_len: Option<usize>,
    matcher: WildMatch,
}

impl Glob {
    /// The pattern. Every text is one.
    pub fn new(pattern: &str) -> Self {
        Self {
            pattern: pattern.to_owned(),
            prefix_len: pattern
                .find(['*', '?'])
                .filter(|&at| at + 1 == pattern.len() && pattern.ends_with('*')),
            matcher: WildMatch::new(pattern),
        }
    }

    /// Whether the whole text matches the pattern.
    pub fn matches(&self, text: &str) -> bool {
        match self.prefix_len {
            Some(len) => text.starts_with(&self.pattern[..len]),
            None => self.matcher.matches(text),
        }
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_matches_the_whole_text() {
        for (pattern, text, expected) in [
            ("user.*", "user.presence.changed", true),
            ("user.*", "use", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("us?r.*", "user", false),
            ("us?r.*", "user.", true),
            ("*.start", "user.watching.start", true),
            ("user.?pdated", "user.updated", true),
            ("user.?", "user.", false),
            ("user", "user.updated", false),
            ("/users", "/users/x", false),
            ("user.*.changed", "user.changed", false),
            ("*a*b*", "xaxxbx", true),
            ("a*a", "a", false),
            ("*a*b*c", "xaybzc", true),
            ("*a*b*c", "xaybcz", false),
            ("é*?", "éa", true),
        ] {
            assert_eq!(
                Glob::new(pattern).matches(text),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn many_stars_do_not_backtrack_exponentially() {
        let pattern = "*a".repeat(30) + "b";
        assert!(!Glob::new(&pattern).matches(&"a".repeat(10_000)));
    }
}
