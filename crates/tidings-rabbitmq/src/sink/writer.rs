//! The task that writes messages, and answers them: [`Writer`].

use super::confirms::{Confirms, Outcome};
use super::entry::Answers;
use super::exchanges::{Exchanges, Probe, Verdict};
use super::intake::Intake;
use super::parcel::Parcel;
use super::refusal;
use super::window::Window;
use crate::connection::{Link, LinkState, Live};
use crate::message::Written;
use crate::options::ClientOptions;
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Error, PublisherConfirm};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// So many messages are written before answers are looked at.
const RUN: usize = 64;
/// lapin is handed no more while it has so many to write.
const UNWRITTEN: usize = 128;
/// A channel that refuses messages is replaced once it is this old.
///
/// Seen with 3.10: after the node of a quorum queue's leader died, nothing of what a channel published there was kept for
/// more than a minute, although there was another leader; a new channel had no trouble. It looks as if a channel asks the
/// leader about itself when it first publishes there, and never again.
const REFUSING: Duration = Duration::from_secs(1);
/// A frame has this much besides what it holds.
pub(crate) const FRAME: usize = 64;

/// Writes what was accepted, in order, to one channel after the other.
pub(super) struct Writer {
    pub(super) options: Arc<ClientOptions>,
    pub(super) intake: Arc<Intake>,
    link: Arc<Link>,
    pub(super) state: watch::Receiver<LinkState>,
    /// When everything that is open is given up, once it is to close.
    closing: watch::Receiver<Option<Instant>>,
    pub(super) window: Window,
    pub(super) exchanges: Exchanges,
    pub(super) answers: Answers,
    /// Whether a message was refused on the channel that there is.
    refusing: bool,
    /// Whether the server takes no messages, and since when it does again.
    blocked: bool,
    taking: Instant,
}

/// Why a channel is not written to any more.
enum End {
    /// Everything is answered, or given up.
    Closed,
    /// A channel that refuses messages is to be replaced. Nothing is in flight.
    Renewed,
    /// The connection is to be replaced.
    Connection,
    /// The channel has ended.
    Channel(Error),
}

impl Writer {
    pub(super) fn new(
        options: Arc<ClientOptions>,
        intake: Arc<Intake>,
        link: Arc<Link>,
        closing: watch::Receiver<Option<Instant>>,
    ) -> Self {
        let of = options.publishing();
        Self {
            window: Window::new(of.max_in_flight, of.max_in_flight_bytes),
            state: link.state(),
            options,
            intake,
            link,
            closing,
            exchanges: Exchanges::default(),
            answers: Answers::default(),
            refusing: false,
            blocked: false,
            taking: Instant::now(),
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let Some(live) = self.live().await else {
                break;
            };
            let end = match self.channel(&live).await {
                Ok(channel) => {
                    let end = self.serve(&live, &channel).await;
                    self.window.restart();
                    self.answers.tell();
                    end
                }
                Err(end) => end,
            };
            match end {
                End::Closed => break,
                End::Renewed => {}
                End::Connection => live.give_up(),
                End::Channel(error) => self.ended(&live, &error).await,
            }
        }
        self.give_up();
    }

    /// The connection, once there is something to publish; none when it is over.
    async fn live(&mut self) -> Option<Arc<Live>> {
        loop {
            self.intake.take(&mut self.window);
            self.expire();
            if self.is_over() {
                return None;
            }
            let live = self.state.borrow_and_update().live().cloned();
            if !self.window.is_empty() {
                self.link.need();
                if let Some(live) = live.filter(|live| live.connection.status().connected()) {
                    return Some(live);
                }
            }
            self.wait(None).await;
        }
    }

    async fn channel(&mut self, live: &Live) -> Result<Channel, End> {
        let opening = async {
            let channel = live.connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(channel)
        };
        let mut opening = std::pin::pin!(tokio::time::timeout(self.options.connect_timeout(), opening));
        loop {
            let opened = tokio::select! {
                opened = &mut opening => opened,
                () = self.wait(None) => {
                    // Seen: what is waited for next is the next change.
                    self.state.borrow_and_update();
                    self.intake.take(&mut self.window);
                    self.expire();
                    if self.is_over() {
                        return Err(End::Closed);
                    }
                    continue;
                }
            };
            self.exchanges.forget();
            return match opened {
                Ok(opened) => opened.map_err(End::Channel),
                Err(_) => Err(End::Connection),
            };
        }
    }

    /// Writes to a channel until it ends.
    async fn serve(&mut self, live: &Live, channel: &Channel) -> End {
        let mut confirms = Confirms::new(&self.intake.bell);
        let publish = |parcel: Parcel| parcel.publish(channel);
        let mut probe: Option<Probe<'_>> = None;
        let opened = Instant::now();
        self.refusing = false;
        loop {
            self.intake.take(&mut self.window);
            let renewing = self.refusing && opened.elapsed() >= REFUSING;
            if renewing && !self.window.is_in_flight() {
                return End::Renewed;
            }
            if !renewing
                && probe.is_none()
                && let Some(exchange) = self.write(live, publish, &mut confirms)
            {
                probe = Some(self.exchanges.probe(live, exchange, self.window.end()));
            }
            let more = match self.look(&mut confirms) {
                Ok(more) => more,
                Err(error) => return End::Channel(error),
            };
            self.expire();
            self.answers.tell();
            if self.is_over() {
                return End::Closed;
            }
            if !self.is_mine(live) || self.is_late() {
                return End::Connection;
            }
            let can_write = !renewing
                && probe.is_none()
                && confirms.unwritten() < UNWRITTEN
                && self.window.next().is_some();
            if more || can_write || (renewing && !self.window.is_in_flight()) {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = self.wait(self.confirms_by()) => {}
                found = async { probe.as_mut().unwrap_or(&mut Probe::never()).await } => {
                    probe = None;
                    if let Err(error) = self.exchanges.found(found) {
                        return End::Channel(error);
                    }
                }
            }
        }
    }

    /// Hands over a run of messages. Stops at an exchange of which it is not known whether it is there.
    fn write<F: Future<Output = lapin::Result<PublisherConfirm>>>(
        &mut self,
        live: &Live,
        publish: impl Fn(Parcel) -> F,
        confirms: &mut Confirms<F>,
    ) -> Option<Arc<str>> {
        let mandatory = self.options.publishing().mandatory;
        let now = Instant::now();
        let mut unknown = None;
        let mut left = RUN.min(UNWRITTEN.saturating_sub(confirms.unwritten()));
        while left > 0 {
            let Some(entry) = self.window.next() else {
                break;
            };
            match self.exchanges.verdict(&entry.target.exchange, entry.number, now) {
                Verdict::There => {}
                Verdict::Unknown => {
                    unknown = Some(entry.target.exchange.clone());
                    break;
                }
                Verdict::Refused(refusal) => {
                    let (number, error) = (entry.number, refusal.of(&entry.target.destination));
                    self.refuse(number, error);
                    continue;
                }
            }
            let size = Written::header_bytes(&entry.message);
            let limit = live.frame_max().saturating_sub(FRAME);
            if size > limit {
                let error = refusal::properties_too_large(entry.target.destination.clone(), size, limit);
                let number = entry.number;
                self.refuse(number, error);
                continue;
            }
            entry.sends += 1;
            let number = entry.number;
            let parcel = Parcel::of(entry, mandatory);
            self.window.sent(now);
            left -= 1;
            confirms.write(number, publish(parcel));
        }
        confirms.end_run();
        unknown
    }

    /// Answers what is certain.
    fn look<F>(&mut self, confirms: &mut Confirms<F>) -> Result<bool, Error>
    where
        F: Future<Output = lapin::Result<PublisherConfirm>>,
    {
        let (window, answers, refusing) = (&mut self.window, &mut self.answers, &mut self.refusing);
        confirms.turn(|number, outcome| {
            let entry = window.take(number);
            window.landed(number);
            // It may have had its answer when its time was over.
            let Some(entry) = entry else {
                return;
            };
            let result = match outcome {
                Outcome::Kept => Ok(()),
                Outcome::Returned => {
                    let (target, key) = (&entry.target, entry.target.routing_key(&entry.message));
                    let destination = target.destination.clone();
                    Err(refusal::unroutable(destination, &target.exchange, &key))
                }
                Outcome::Refused => {
                    *refusing = true;
                    Err(refusal::nack(entry.target.destination.clone()))
                }
            };
            entry.answer(result, answers);
        })
    }

    /// Whether the connection is the one that there is. Notes the time in which the server takes nothing.
    fn is_mine(&mut self, live: &Live) -> bool {
        let state = self.state.borrow_and_update();
        let blocked = state.is_blocked();
        if blocked || self.blocked {
            self.taking = Instant::now();
        }
        self.blocked = blocked;
        state.live().is_some_and(|now| now.generation == live.generation)
    }

    /// When the oldest message in flight should be confirmed. A server that takes nothing is given time.
    fn confirms_by(&self) -> Option<Instant> {
        if self.blocked {
            return None;
        }
        let timeout = self.options.publishing().confirm_timeout;
        let oldest = self.window.oldest_in_flight()?;
        oldest.max(self.taking).checked_add(timeout)
    }

    fn is_late(&self) -> bool {
        self.confirms_by().is_some_and(|by| by <= Instant::now())
    }

    /// Whether it is closing and nothing is left to do, or no time.
    fn is_over(&mut self) -> bool {
        let Some(by) = *self.closing.borrow_and_update() else {
            return false;
        };
        // Nothing is accepted any more once it is closing; what was until then may not have been looked at.
        self.intake.take(&mut self.window);
        self.window.is_empty() || by <= Instant::now()
    }

    /// Waits until something is to be done.
    async fn wait(&self, until: Option<Instant>) {
        let patience = self.options.publishing().message_timeout;
        let closing = *self.closing.borrow();
        let times = [until, closing, self.window.expires(patience)];
        let next = times.into_iter().flatten().min();
        let sleep = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        let (mut state, mut closing) = (self.state.clone(), self.closing.clone());
        tokio::select! {
            () = self.intake.bell.rung() => {}
            () = sleep => {}
            Ok(()) = state.changed() => {}
            Ok(()) = closing.changed() => {}
        }
    }
}
