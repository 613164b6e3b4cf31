//! Mosquitto as a yardstick: what merely acknowledging the same messages costs, in memory and at QoS 1.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::packages::{self, Need};
use crate::process::Running;

const BROKER: &str = "mosquitto";

/// Installs it if it is not there. Its Debian package may also start a broker of its own, which is left alone.
pub(crate) fn ensure() -> Result<()> {
    packages::ensure("the comparison with Mosquitto", &[Need { thing: BROKER, package: "mosquitto" }])
}

/// Starts one with nothing that slows it down: nothing stored, no limits, nothing logged. Returns its address.
pub(crate) fn start(folder: &Path) -> Result<(Running, String)> {
    // It cannot choose a port and say which: somebody else may take this one before it does, and then it does not start.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = folder.join("mosquitto.conf");
    let text = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nsys_interval 0\n\
         max_inflight_messages 0\nmax_queued_messages 0\nconnection_messages false\nlog_type error\n",
        address.port()
    );
    std::fs::write(&config, text)?;
    let program = packages::find(BROKER).context("mosquitto is not in PATH")?;
    let log = folder.join("mosquitto.log");
    let mut command = Command::new(program);
    command
        .arg("-c")
        .arg(config)
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?);
    let mut running = Running::start("mosquitto", &mut command)?;
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if TcpStream::connect(address).is_ok() {
            return Ok((running, address.to_string()));
        }
        if let Some(status) = running.ended()? {
            bail!("mosquitto did not start ({status}): {}", std::fs::read_to_string(log)?);
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("mosquitto does not listen on {address} after 10 s")
}
