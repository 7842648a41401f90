//! [`Tls`]: how a connection is secured.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a connection is secured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Whether it is, where the address does not say so (`https` does).
    pub enabled: Option<bool>,
    /// Certificates in PEM that peers are checked against. Default: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our certificate in PEM.
    pub crt_file: Option<PathBuf>,
    /// The key of our certificate in PEM.
    pub key_file: Option<PathBuf>,
    /// Whether the certificate of the peer is checked. Default: yes.
    pub verify_certificate: Option<bool>,
    /// Whether the name of the peer is checked. Default: yes.
    pub verify_hostname: Option<bool>,
    /// The name that the peer is asked for. Default: that of the address.
    pub server_name: Option<String>,
}
