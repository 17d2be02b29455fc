//! Counts fresh tokens that the service refuses as expired.
//!
//! An expired token is replaced by a fresh one. If the service refuses fresh ones as expired too, further attempts are
//! useless: the tokens were revoked, or a clock is wrong.

use crate::api::ApiError;
use crate::domain::ApiErrorCode;

/// How many fresh tokens in a row may be refused. More than one, because a restarting service gives wrong errors.
const MAX_REJECTIONS: u32 = 5;

/// The number of tokens in a row that were refused as expired.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TokenRejections(u32);

impl TokenRejections {
    /// Records an error. Returns whether another token is useless.
    pub(super) fn record(&mut self, error: &ApiError) -> bool {
        self.0 = match error.api_code() {
            Some(ApiErrorCode::TokenExpired) => self.0 + 1,
            // Another error does not say that the token was refused.
            _ => 0,
        };
        // The first of them was refused rightly.
        self.0 > MAX_REJECTIONS
    }

    /// Records that a token was accepted.
    pub(super) const fn reset(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Refusal;

    fn refused(code: i32) -> ApiError {
        ApiError::Refused(Refusal {
            code: code.into(),
            status: 401,
            ..Refusal::default()
        })
    }

    #[test]
    fn only_the_same_refusal_in_a_row_counts() {
        let mut rejections = TokenRejections::default();
        for _ in 0..MAX_REJECTIONS {
            assert!(!rejections.record(&refused(40)));
        }
        assert!(rejections.record(&refused(40)));

        rejections.reset();
        for code in [40, 40, 40, 40, -1, 40, 40, 40, 40, 40] {
            assert!(!rejections.record(&refused(code)));
        }
        assert!(rejections.record(&refused(40)));
    }
}
