//! Which broker is meant, and what the project calls its topics: [`Address`].

use crate::args::Global;
use crate::configuration::{ChannelPlace, Project, parse_url};
use crate::error::CliError;
use std::path::PathBuf;
use tidings_config::{BinderConfig, BinderUrl, RabbitmqChannelConfig};

/// The broker that the command line or the configuration names; nothing is opened yet.
#[derive(Debug)]
pub(crate) struct Address {
    pub(super) url: BinderUrl,
    /// Who says so.
    pub(super) origin: String,
    /// What the configuration says of it besides.
    pub(super) settings: BinderConfig,
    /// What it says of destinations, if they live on a RabbitMQ.
    pub(super) on_rabbitmq: Vec<(String, RabbitmqChannelConfig)>,
    pub(super) channels: Vec<ChannelPlace>,
    pub(super) dead_letters: Vec<String>,
    /// The groups of the configuration.
    pub(super) groups: Vec<String>,
}

impl Address {
    /// The address of the broker; `name` is the channel or topic that it is looked for.
    pub(crate) fn find(global: &Global, name: Option<&str>) -> Result<Self, CliError> {
        if let Some(url) = &global.url {
            return Ok(Self {
                url: parse_url(url)?,
                origin: "--url".to_owned(),
                settings: BinderConfig::default(),
                on_rabbitmq: Vec::new(),
                channels: Vec::new(),
                dead_letters: Vec::new(),
                groups: Vec::new(),
            });
        }
        let project = Project::load(global)?;
        let binder = global.binder.clone().unwrap_or_else(|| project.binder_of(name));
        let (url, origin) = project.url(&binder)?;
        let channels = project.channels().into_iter();
        Ok(Self {
            url,
            origin,
            settings: project.settings(&binder),
            on_rabbitmq: project.on_rabbitmq(&binder),
            channels: channels.filter(|channel| channel.binder == binder).collect(),
            dead_letters: project.dead_letters(),
            groups: project.groups(),
        })
    }

    /// The destination that a name means, whether it exists or not.
    pub(crate) fn destination<'a>(&'a self, name: &'a str) -> &'a str {
        destination(&self.channels, name)
    }

    /// The address for people.
    pub(crate) fn url(&self) -> String {
        self.url.to_string()
    }

    /// The directory that the broker is, if it is one and somebody has used it as one.
    ///
    /// # Errors
    /// [`CliError::Refused`] for brokers that are no directories, [`CliError::Missing`] for directories that are not
    /// there or hold something else.
    pub(crate) fn directory(&self) -> Result<PathBuf, CliError> {
        let Self { url, origin, .. } = self;
        super::open::check(url, origin, super::Intent::Change)?;
        if url.scheme() != "embedded" {
            return Err(CliError::refused(
                format!(
                    "{url} ({origin}) is no directory of this machine, and only its own servers see its log"
                ),
                "use the tools of that broker, or name a directory with --url embedded:DIRECTORY",
            ));
        }
        let directory = PathBuf::from(url.expose_rest());
        if !SIGNS.iter().any(|sign| directory.join(sign).exists()) {
            return Err(CliError::missing(
                format!(
                    "{} ({origin}) is no broker's directory: none of {} is there",
                    directory.display(),
                    SIGNS.join(", ")
                ),
                "name the directory of your app with --url embedded:DIRECTORY",
            ));
        }
        Ok(directory)
    }
}

/// What tells a broker's directory, also one that has lost a part, from any other.
const SIGNS: [&str; 4] = ["format", "catalog", "topics", "state.redb"];

/// The destination that a name means, whether it exists or not.
pub(super) fn destination<'a>(channels: &'a [ChannelPlace], name: &'a str) -> &'a str {
    let channel = channels.iter().find(|channel| channel.channel == name);
    channel.map_or(name, |channel| &channel.destination)
}
