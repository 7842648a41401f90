//! The sink `http` over TLS. The certificates are for tests alone: the key of their authority was thrown away.

use std::path::Path;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tidegate_flow::Outcome;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::rig::{Rig, ended};

fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sinks/certificates");
    folder.join(name).to_str().unwrap().to_owned()
}

/// A receiver with the certificate of `receiver.test`, which accepts everything; gives its address.
async fn receiver() -> String {
    let chain = CertificateDer::pem_file_iter(file("server.pem")).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let accept =
                |_: Request<hyper::body::Incoming>| async { Ok::<_, hyper::Error>(Response::new(String::new())) };
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(accept));
            tokio::spawn(served);
        }
    });
    address
}

/// How a record ended that was sent with these settings; it is tried twice.
async fn outcome(tls: Value) -> Outcome {
    let sink = json!({
        "type": "http", "uri": receiver().await, "encoding": {"codec": "json"}, "tls": tls,
        "request": {"retry_attempts": 1, "retry_initial_backoff_secs": 0.01},
    });
    let rig = Rig::new(&sink, None);
    rig.send(["{}"]).await;
    let report = rig.end().await;
    if ended(&report, Outcome::Delivered) == 1 { Outcome::Delivered } else { Outcome::Returned }
}

#[tokio::test]
async fn a_receiver_must_prove_who_it_is() {
    let (ca, name) = (file("ca.pem"), "receiver.test");
    assert_eq!(outcome(json!({"ca_file": ca, "server_name": name})).await, Outcome::Delivered);
    assert_eq!(outcome(json!({"ca_file": ca})).await, Outcome::Returned, "127.0.0.1 is not in its certificate");
    assert_eq!(outcome(json!({"server_name": name})).await, Outcome::Returned, "nobody here knows its authority");
}

#[tokio::test]
async fn unless_the_user_does_not_want_to_know() {
    assert_eq!(outcome(json!({"ca_file": file("ca.pem"), "verify_hostname": false})).await, Outcome::Delivered);
    assert_eq!(outcome(json!({"verify_hostname": false})).await, Outcome::Returned, "the authority still counts");
    assert_eq!(outcome(json!({"verify_certificate": false})).await, Outcome::Delivered);
}
