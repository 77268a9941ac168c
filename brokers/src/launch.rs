//! Starting processes that die with this one, and processes that outlive it.
//!
//! `PR_SET_PDEATHSIG` would do for the first kind, were it not for two gaps. It fires when the *thread* that started the
//! child ends, so one thread, which never ends, starts them all. And a parent that is killed before the child has asked
//! for the signal would leave it alone for ever; so the child waits for a word on a pipe before it becomes the server,
//! and the end of the pipe ends it. The second kind waits for the same word, which is given when its record is written:
//! there is no moment at which a server runs that no record names.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, mpsc};

use crate::error::BrokersError;
use crate::identity::Identity;
use crate::programs;

/// Waits for the word, then becomes the server under the same process id.
const WAIT_FOR_THE_WORD: &str = r#"read -r go && [ "$go" = go ] || exit 1; exec "$@" </dev/null"#;

/// Whether a server ends with the process that starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    WithUs,
    OnItsOwn,
}

/// A program with its arguments, and the variables that it gets beside those of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommandLine {
    pub(crate) words: Vec<OsString>,
    pub(crate) variables: Vec<(OsString, OsString)>,
}

/// Starts a server; what it prints goes to the end of `log`, who it is to `record`.
pub(crate) fn server(
    life: Life,
    command: &CommandLine,
    log: &Path,
    record: &Path,
) -> Result<Child, BrokersError> {
    let log_file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(BrokersError::file("open", log))?;
    let both = log_file.try_clone().map_err(BrokersError::file("open", log))?;
    let mut launcher = match life {
        Life::WithUs => dying_with_us(Path::new("sh"))?,
        // It must not be the first of a group, or else `setsid` would start another process instead of becoming it.
        Life::OnItsOwn => Command::new(programs::find(&programs::SETSID)?),
    };
    if life == Life::OnItsOwn {
        launcher.arg("sh");
    }
    launcher
        .args(["-c", WAIT_FOR_THE_WORD, "sh"])
        .args(&command.words);
    launcher.envs(command.variables.iter().map(|(name, value)| (name, value)));
    launcher.stdin(Stdio::piped()).stdout(log_file).stderr(both);
    let mut child = spawn(launcher)?;
    match Identity::of(child.id()) {
        Some(identity) => identity.write(record)?,
        None => return Err(start_failed("it ended at once")),
    }
    let told = child.stdin.take().map(|mut pipe| pipe.write_all(b"go\n"));
    match told {
        Some(Ok(())) => Ok(child),
        _ => Err(start_failed("it does not listen")),
    }
}

/// A command that the kernel kills when this process ends.
pub(crate) fn dying_with_us(program: &Path) -> Result<Command, BrokersError> {
    let mut command = Command::new(programs::find(&programs::SETPRIV)?);
    command.args(["--pdeathsig", "KILL"]).arg(program);
    // Ctrl-C is for the tests; a server in their group would be gone before they could say what they saw.
    command.process_group(0);
    Ok(command)
}

type Job = (Command, mpsc::Sender<std::io::Result<Child>>);

/// The thread that starts everything. It ends with the process, because the sender does.
static STARTER: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
    let (sender, jobs) = mpsc::channel::<Job>();
    let started = std::thread::Builder::new()
        .name("brokers-starter".into())
        .spawn(move || {
            for (mut command, answer) in jobs {
                // Whoever asked may have panicked meanwhile; the child is dropped then, and still dies with us.
                let _ = answer.send(command.spawn());
            }
        });
    started.expect("a process that starts servers can start a thread");
    sender
});

/// Starts a command from the thread that lives as long as the process.
pub(crate) fn spawn(command: Command) -> Result<Child, BrokersError> {
    let (answer, child) = mpsc::channel();
    STARTER
        .send((command, answer))
        .map_err(|_| start_failed("the starting thread is gone"))?;
    match child.recv() {
        Ok(child) => child.map_err(BrokersError::io("start", "a process")),
        Err(_) => Err(start_failed("the starting thread is gone")),
    }
}

fn start_failed(why: &str) -> BrokersError {
    BrokersError::io("start", "a server")(std::io::Error::other(why.to_owned()))
}
