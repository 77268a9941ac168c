//! A process for tests that ends with its test, however that ends.

use std::process::{Child, Command, Stdio};

#[derive(Debug)]
pub(crate) struct Sleeper(pub(crate) Child);

impl Sleeper {
    pub(crate) fn start() -> Self {
        let mut sleep = Command::new("sleep");
        // Whoever reads the output of the tests must not wait for this one.
        sleep
            .arg("600")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(sleep.spawn().unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
