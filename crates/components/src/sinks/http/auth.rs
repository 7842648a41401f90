//! [`Auth`]: who we are, for the receiver.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::StartError;

/// Who we are, in the header `Authorization`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "strategy", rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// A user with a password (RFC 7617).
    Basic {
        /// The user, without a colon.
        user: String,
        /// The password.
        #[serde(default)]
        password: String,
    },
    /// A token (RFC 6750).
    Bearer {
        /// The token.
        token: String,
    },
}

impl Auth {
    /// The header. It is marked as secret, so that no log shows it.
    ///
    /// # Errors
    /// What cannot stand in a header.
    pub(super) fn header(&self) -> Result<HeaderValue, StartError> {
        let text = match self {
            Self::Basic { user, .. } if user.contains(':') => {
                return Err(StartError::new("a user cannot have a colon in its name"));
            }
            Self::Basic { user, password } => format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
            Self::Bearer { token } if token.is_empty() => return Err(StartError::new("the token is empty")),
            Self::Bearer { token } => format!("Bearer {token}"),
        };
        let mut header = HeaderValue::try_from(text).map_err(|_| {
            StartError::new("the token has characters that no header can have").help("is it quoted twice?")
        })?;
        header.set_sensitive(true);
        Ok(header)
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => f.debug_struct("Basic").field("user", user).finish_non_exhaustive(),
            Self::Bearer { .. } => f.debug_struct("Bearer").finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_sent_and_never_shown() {
        let basic: Auth =
            serde_json::from_str(r#"{"strategy":"basic","user":"Aladdin","password":"open sesame"}"#).unwrap();
        assert_eq!(basic.header().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "the example of RFC 7617");
        let bearer: Auth = serde_json::from_str(r#"{"strategy":"bearer","token":"mF_9.B5f-4.1JqM"}"#).unwrap();
        assert_eq!(bearer.header().unwrap(), "Bearer mF_9.B5f-4.1JqM", "the example of RFC 6750");
        let shown = format!("{basic:?} {bearer:?} {:?}", bearer.header().unwrap());
        assert!(!shown.contains("sesame") && !shown.contains("mF_9"), "{shown}");
    }

    #[test]
    fn what_no_header_can_carry_is_refused() {
        for auth in [
            Auth::Basic { user: "a:b".into(), password: String::new() },
            Auth::Bearer { token: String::new() },
            Auth::Bearer { token: "a\nb".into() },
        ] {
            assert!(auth.header().is_err(), "{auth:?}");
        }
    }
}
