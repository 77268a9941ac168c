//! TLS as `openssl s_client` sees it.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What openssl says of a handshake with a server that should be `localhost`.
pub(crate) fn handshake(address: &str, trusted: &Path, more: &[&str]) -> String {
    let output = client(address, trusted, more)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn client(address: &str, trusted: &Path, more: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", address, "-verify_hostname", "localhost"]);
    command.arg("-CAfile").arg(trusted).args(more);
    command
}

/// A connection through openssl; it ends when it is dropped.
pub(crate) struct Tls(Child);

impl Tls {
    /// Connects to a server whose certificate must be good.
    pub(crate) fn connect(address: &str, trusted: &Path, more: &[&str]) -> Self {
        let mut client = client(address, trusted, more);
        client.args(["-quiet", "-verify_return_error"]);
        client.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(client.stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.stdout.as_mut().unwrap().read(buffer)
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.stdin.as_mut().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.stdin.as_mut().unwrap().flush()
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
