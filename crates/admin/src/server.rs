//! The HTTP server: routes and answers.

use std::future::Future;
use std::io;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::limited::Limited;
use crate::metrics;
use crate::shown::Shown;

/// Serves `shown` on `listener` until `stop` completes, then finishes the answers that were begun.
///
/// # Errors
/// The listener is broken.
pub async fn serve(
    listener: TcpListener,
    shown: Shown,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let routes = Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics_text))
        .route("/ledger", get(ledger))
        .route("/health/live", get(live))
        .route("/health/progress", get(progress))
        .with_state(shown);
    axum::serve(Limited::new(listener), routes).with_graceful_shutdown(stop).await
}

async fn index(State(shown): State<Shown>) -> String {
    let what = match shown.view() {
        Some(view) => format!("pipeline \"{}\"\n{}\n", view.name(), view.bottleneck()),
        None => "no pipeline is running\n".to_owned(),
    };
    format!("{what}\n/metrics\n/ledger\n/health/live\n/health/progress\n")
}

async fn metrics_text(State(shown): State<Shown>) -> Response {
    match metrics::encode(&shown) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the metrics cannot be written: {error}\n")).into_response()
        }
    }
}

async fn ledger(State(shown): State<Shown>) -> Response {
    match shown.ledger() {
        Some(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        None => (StatusCode::NOT_FOUND, "no ledger is kept; it needs a `data_dir`\n").into_response(),
    }
}

async fn live() -> &'static str {
    "alive\n"
}

async fn progress(State(shown): State<Shown>) -> Response {
    let Some(view) = shown.view() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "no pipeline is running\n").into_response();
    };
    let mut text: String = view.stalls().iter().map(|stall| format!("{stall}\n")).collect();
    let mut is_unhealthy = !text.is_empty();
    for (name, log) in view.logs() {
        if let Some(trouble) = log.trouble() {
            // A buffer that is full of what downstream has to settle is pressure, and not what is wrong; nothing but people
            // settles dead letters.
            is_unhealthy |= trouble.needs_somebody(name);
            text.push_str(&format!("{}\n", trouble.about(name)));
        }
    }
    for (name, trouble) in view.checkpoint_troubles() {
        is_unhealthy |= trouble.is_fault;
        text.push_str(&format!("the checkpoint of \"{name}\": {}\n", trouble.words));
    }
    if is_unhealthy {
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    format!("progressing\n{text}").into_response()
}
