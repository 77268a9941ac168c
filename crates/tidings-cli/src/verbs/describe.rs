//! `tidings describe`.

use crate::args::Global;
use crate::broker::{Broker, Intent};
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{Form, Out, escape_lines};
use clap::Args;

/// What `describe` understands.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {}

/// Shows what the running app says of itself: the screen that it prints at its start.
pub(crate) async fn run(global: &Global, _args: &DescribeArgs, out: &mut Out) -> Result<Exit, CliError> {
    let broker = Broker::open(global, Intent::Read, None, out).await?;
    if broker.is_server() {
        let url = broker.url().to_owned();
        broker.close().await?;
        return Err(CliError::refused(
            format!("{url} knows messages and groups, and not the apps that use it"),
            "an app prints its description when it starts; tidings groups shows who reads, tidings config what \
             configuration says",
        ));
    }
    let Some(service) = broker.service() else {
        return Err(CliError::Away {
            what: format!("no app that can be asked runs on {}", broker.url()),
            cure: "start it: only the app knows its handlers; tidings config shows what configuration says"
                .to_owned(),
        });
    };
    let description = service.describe().await?;
    match out.form() {
        Form::Json => out.object(&description.json)?,
        Form::Table => out.text(&escape_lines(&description.text))?,
    }
    broker.close().await?;
    Ok(Exit::Done)
}
