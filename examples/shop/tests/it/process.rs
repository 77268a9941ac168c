//! The shop as a program: started on a free port in a scratch directory, and killed when the test ends.

use shop::database::DATABASE_URL;
use shop::load::{Answer, Client};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// No matter how busy the machine is.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A running shop.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
}

impl Process {
    /// Starts a shop on a free port.
    pub(crate) fn start(data: &Path) -> Self {
        Self::try_start(data, "127.0.0.1:0", None).expect("a free port can be listened on")
    }

    /// Starts a shop at this address, on the database of that one or on a file; none if it could not listen there.
    pub(crate) fn try_start(data: &Path, address: &str, database: Option<&str>) -> Option<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
        command
            .arg("--data")
            .arg(data)
            .args(["--http", address])
            .current_dir(data)
            .env_remove(DATABASE_URL)
            .envs(database.map(|url| (DATABASE_URL, url)));
        let mut shop = Self::spawn(command);
        if shop.url.is_empty() {
            shop.child.wait().unwrap();
            return None;
        }
        Some(shop)
    }

    /// Starts these services of a shop on Kafka; all if none is named. Without the order service it has no door.
    pub(crate) fn on_kafka(bootstrap: &str, directory: &Path, services: &[&str]) -> Self {
        let mut command = on_broker(&format!("kafka://{bootstrap}"), directory, services);
        // As soon as a broker allows it, a member that was killed is taken for gone.
        command.env("TIDINGS__BINDER__MAIN__KAFKA__SESSION_TIMEOUT_MS", "6000");
        Self::spawn(command)
    }

    /// The same on RabbitMQ.
    pub(crate) fn on_rabbitmq(url: &str, directory: &Path, services: &[&str]) -> Self {
        Self::spawn(on_broker(url, directory, services))
    }

    /// Starts it and waits for its first line; without a URL if that has none.
    fn spawn(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.unwrap_or_default().to_owned();
        Self { child, url }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url).unwrap()
    }

    /// As a power cut for the process.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, name: &str) {
        let signalled = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status();
        assert!(signalled.unwrap().success());
    }

    /// It gets what comes and does nothing any more.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// As an orchestrator ends it.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < TIMEOUT, "the shop does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// These services of a shop on the broker at that address.
fn on_broker(url: &str, directory: &Path, services: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
    command.args(["--http", "127.0.0.1:0"]).current_dir(directory);
    for service in services {
        command.args(["--service", service]);
    }
    command.env("TIDINGS_URL", url).env_remove(DATABASE_URL);
    command
}

/// Asks until the answer is as wanted.
pub(crate) async fn until(client: &mut Client, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let begun = Instant::now();
    loop {
        let answer = client.get(path).await;
        if let Ok(answer) = &answer
            && wanted(answer)
        {
            return answer.clone();
        }
        assert!(begun.elapsed() < TIMEOUT, "{path}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the shop knows everything.
pub(crate) async fn until_open(client: &mut Client) {
    until(client, "/orders", |answer| {
        answer.status == 200 && json(answer)["complete"] == true
    })
    .await;
}

pub(crate) fn json(answer: &Answer) -> serde_json::Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {:?}", answer.body))
}
