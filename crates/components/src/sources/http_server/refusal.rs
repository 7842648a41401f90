//! [`Refusal`]: why a request is not accepted, and the answer that says so.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

pub(super) type Answer = Response<Full<Bytes>>;

/// Why a request is not accepted.
pub(super) struct Refusal {
    status: StatusCode,
    text: String,
    retry_seconds: Option<u64>,
}

impl Refusal {
    pub(super) fn of(status: StatusCode, text: String) -> Self {
        Self { status, text, retry_seconds: None }
    }

    /// Too much at the moment.
    pub(super) fn over(text: String, seconds: u64) -> Self {
        Self { retry_seconds: Some(seconds), ..Self::of(StatusCode::TOO_MANY_REQUESTS, text) }
    }

    /// It was tried, and should be tried again.
    pub(super) fn again(text: String, seconds: u64) -> Self {
        Self { retry_seconds: Some(seconds), ..Self::of(StatusCode::SERVICE_UNAVAILABLE, text) }
    }

    pub(super) fn answer(self) -> Answer {
        let mut answer = Response::new(Full::new(Bytes::from(self.text + "\n")));
        *answer.status_mut() = self.status;
        if let Some(seconds) = self.retry_seconds {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"tidegate\""));
        }
        answer
    }
}
