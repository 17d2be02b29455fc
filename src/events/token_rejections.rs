//! Fresh tokens that are refused as expired.
//!
//! A token that ran out is replaced by a fresh one, and once is enough. A service that says the same of every fresh one
//! will go on saying so: somebody revoked the tokens, or its clock is wrong. What follows from that is decided elsewhere.

use crate::api::ApiError;
use crate::domain::ApiErrorCode;

/// How many fresh tokens in a row may be refused. More than one, since a service that restarts says all kinds of things.
const ENOUGH: u32 = 5;

/// How many fresh tokens were refused in a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TokenRejections(u32);

impl TokenRejections {
    /// Takes note of an error. Whether it has been the same one so often that another token is useless.
    pub(super) fn again(&mut self, error: &ApiError) -> bool {
        self.0 = match error.api_code() {
            Some(ApiErrorCode::TokenExpired) => self.0 + 1,
            // Not about the token; it may have been good.
            _ => 0,
        };
        // The first of them is the token that ran out.
        self.0 > ENOUGH
    }

    /// A token was good.
    pub(super) const fn passed(&mut self) {
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
        let mut stale = TokenRejections::default();
        for _ in 0..ENOUGH {
            assert!(!stale.again(&refused(40)));
        }
        assert!(stale.again(&refused(40)));

        stale.passed();
        for code in [40, 40, 40, 40, -1, 40, 40, 40, 40, 40] {
            assert!(!stale.again(&refused(code)));
        }
        assert!(stale.again(&refused(40)));
    }
}
