//! An HTTP receiver that answers as it was told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// What the receiver does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers with this status, this header and this body.
    Status(u16, Option<(&'static str, &'static str)>, &'static str),
    /// Never answers.
    Silence,
    /// Closes the connection without an answer.
    Hangup,
    /// Accepts as soon as it is let go on.
    WhenAllowed,
}

/// A request that came in.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }
}

/// A receiver on a free port. It answers as the script says, and 200 when that is over.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    script: Mutex<VecDeque<Reply>>,
    got: Mutex<Vec<Got>>,
    allowed: Semaphore,
}

impl Receiver {
    pub(crate) async fn new(script: impl IntoIterator<Item = Reply>) -> Self {
        Self::at("127.0.0.1:0", script).await
    }

    pub(crate) async fn at(address: &str, script: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Mutex::new(script.into_iter().collect());
        let state = Arc::new(State { script, got: Mutex::default(), allowed: Semaphore::new(0) });
        let task = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self { address, state, task }
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}/in?key=secret", self.address)
    }

    /// The requests so far.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.state.got.lock().unwrap().clone()
    }

    /// Lets so many requests go on.
    pub(crate) fn allow(&self, requests: usize) {
        self.state.allowed.add_permits(requests);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &state));
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(request: Request<Incoming>, state: &State) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let got = Got { method: parts.method.to_string(), path: parts.uri.path().to_owned(), headers: parts.headers, body };
    state.got.lock().unwrap().push(got);
    let reply = state.script.lock().unwrap().pop_front();
    match reply.unwrap_or(Reply::Status(200, None, "")) {
        Reply::Status(status, header, body) => {
            let response = Response::builder().status(status);
            let response = header.into_iter().fold(response, |response, (name, value)| response.header(name, value));
            Ok(response.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap())
        }
        Reply::Silence => {
            let never: Infallible = std::future::pending().await;
            match never {}
        }
        Reply::Hangup => Err(std::io::ErrorKind::ConnectionAborted.into()),
        Reply::WhenAllowed => {
            state.allowed.acquire().await.unwrap().forget();
            Ok(Response::new(Full::new(Bytes::new())))
        }
    }
}
