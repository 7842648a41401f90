//! The control plane: metrics and health on a thread and a runtime of their own, so that a saturated pipeline does not
//! hide behind its own load.

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use tidegate_admin::Shown;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Where metrics and health are served if nothing else was said.
pub(super) const DEFAULT_ADDRESS: &str = "127.0.0.1:8686";

/// Where metrics and health are served.
#[derive(Debug, clap::Args)]
pub(super) struct ControlArgs {
    /// Serve /metrics, /health/live and /health/progress here: a loopback address. Where the default is taken by
    /// somebody else, the program goes on without and says so.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "no_admin")]
    admin: Option<SocketAddr>,
    /// Serve nothing.
    #[arg(long)]
    no_admin: bool,
}

/// The server. Dropping it lets the answers that were begun be finished.
pub(super) struct Control {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ControlArgs {
    /// Starts the server; `None` where there is to be none.
    ///
    /// # Errors
    /// The address that was asked for cannot be had.
    pub(super) fn start(&self, shown: &Shown) -> Result<Option<Control>, String> {
        if self.no_admin {
            return Ok(None);
        }
        let default = DEFAULT_ADDRESS.parse().map_err(|error| format!("{DEFAULT_ADDRESS}: {error}"))?;
        let address = self.admin.unwrap_or(default);
        if !address.ip().is_loopback() {
            return Err(format!(
                "--admin {address} is not a loopback address; the server asks nobody who they are, so use 127.0.0.1 and \
                 a proxy that does"
            ));
        }
        match Control::start(address, shown.clone()) {
            Ok((control, address)) => {
                shown.set_address(address);
                tracing::info!("metrics and health on http://{address}");
                Ok(Some(control))
            }
            Err(error) if self.admin.is_none() => {
                tracing::warn!("no metrics and health: {address}: {error}; give another address with --admin");
                Ok(None)
            }
            Err(error) => Err(format!("--admin {address}: {error}")),
        }
    }
}

impl Control {
    fn start(address: SocketAddr, shown: Shown) -> io::Result<(Self, SocketAddr)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(address))?;
        let address = listener.local_addr()?;
        // tidy: allow(banned-calls): it carries one message
        let (stop, stopped) = oneshot::channel();
        let serving = move || {
            let served = runtime.block_on(tidegate_admin::serve(listener, shown, async { drop(stopped.await) }));
            if let Err(error) = served {
                tracing::error!("metrics and health are no longer served: {error}");
            }
        };
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(serving)?;
        Ok((Self { stop: Some(stop), thread: Some(thread) }, address))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Connections that are kept alive would hold it; the process ends without them.
        drop(self.thread.take());
    }
}
