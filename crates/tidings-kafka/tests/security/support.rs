//! One secure Kafka for all tests, and everything that was logged.

use brokers::{BrokersError, Kafka, Listener, Options, Security, Token as Jwt, or_skip, unique};
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tidings_core::{
    Binder, DestinationSpec, Message, Outgoing, Progress, RecordBatch, Source, SourceEvent, SourceInput,
    SourceSpec, Start,
};
use tidings_kafka::{ClientOptions, KafkaBinder, Token, TokenError, TokenSource};
use tokio::time::timeout;

/// Nothing takes longer that comes at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The Kafka of these tests; none after having said what is missing.
pub(crate) fn kafka(test: &str) -> Option<&'static Kafka> {
    static KAFKA: OnceLock<Result<Kafka, BrokersError>> = OnceLock::new();
    keep_logs();
    or_skip(
        test,
        KAFKA.get_or_init(|| Kafka::start(Options::secure())).as_ref(),
    )
}

/// What was logged since the start, of all tests.
pub(crate) fn logs() -> String {
    String::from_utf8_lossy(&LOGS.lock().unwrap()).into_owned()
}

static LOGS: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Logs;

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOGS.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn keep_logs() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_writer(|| Logs)
            .with_ansi(false)
            .init();
    });
}

/// Properties by name.
pub(crate) type Properties = Vec<(&'static str, String)>;

pub(crate) fn options(kafka: &Kafka, listener: Listener, properties: Properties) -> ClientOptions {
    let servers = kafka.bootstrap_of(listener).unwrap();
    let options = ClientOptions::from_url(&format!("kafka://{servers}")).unwrap();
    options.with_properties(properties).unwrap()
}

/// TLS, with the authority of the broker.
pub(crate) fn tls(security: &Security, protocol: &str) -> Properties {
    vec![
        ("security.protocol", protocol.to_owned()),
        ("ssl.ca.location", security.authority().display().to_string()),
    ]
}

pub(crate) fn login(security: &Security, mechanism: &str, user: &str, password: &str) -> Properties {
    let mut properties = tls(security, "SASL_SSL");
    properties.extend([
        ("sasl.mechanism", mechanism.to_owned()),
        ("sasl.username", user.to_owned()),
        ("sasl.password", password.to_owned()),
    ]);
    properties
}

/// Gives a token that a test has signed.
#[derive(Clone)]
pub(crate) struct Signed(pub(crate) Arc<dyn Fn() -> Jwt + Send + Sync>);

impl TokenSource for Signed {
    async fn token(&self) -> Result<Token, TokenError> {
        let security = kafka("a token").and_then(Kafka::security).unwrap();
        let value = security
            .token(&(self.0)())
            .map_err(|error| TokenError::new(error.to_string()))?;
        let token = Token::from_jwt(value)?;
        Ok(if token.expires() < std::time::SystemTime::now() {
            // As one whose clock is wrong would.
            let later = std::time::SystemTime::now() + Duration::from_secs(3600);
            Token::new(security.token(&(self.0)()).unwrap(), later)
        } else {
            token
        })
    }
}

/// A name that alice may use.
pub(crate) fn allowed(name: &str) -> Arc<str> {
    unique(&format!("{}{name}", Security::ALLOWED_PREFIX)).into()
}

pub(crate) fn spec(name: &Arc<str>) -> DestinationSpec {
    DestinationSpec::new(name.clone(), 1)
}

pub(crate) fn reads(topic: &Arc<str>, group: &Arc<str>) -> SourceSpec {
    SourceSpec {
        partitions: None,
        subscription: "audit".into(),
        group: Some(group.clone()),
        inputs: vec![SourceInput {
            destination: topic.clone(),
            retry: None,
        }],
        start: Start::Earliest,
        max_batch_bytes: 1 << 20,
        commit_interval: Duration::from_millis(100),
        commit_every: 1_000,
        revoke_timeout: Duration::from_secs(5),
        guarantee: tidings_core::Guarantee::AtLeastOnce,
    }
}

/// The payload of the first message that a source gives; it is committed.
pub(crate) async fn first<S: Source>(source: &mut S) -> String {
    let batch = next_batch(source).await;
    let payload = batch.payload(&batch.records()[0]).unwrap_or_default();
    let payload = String::from_utf8_lossy(payload).into_owned();
    let progress = Progress {
        watermark: batch.next(),
        ..Progress::default()
    };
    source.progress(batch.lane(), batch.epoch(), progress);
    timeout(PATIENCE, source.commit())
        .await
        .expect("in time")
        .expect("it is stored");
    payload
}

/// The next messages that a source gives.
pub(crate) async fn next_batch(source: &mut impl Source) -> RecordBatch {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let event = tokio::time::timeout_at(deadline, source.next()).await;
        match event.expect("it comes in time") {
            Ok(SourceEvent::Batch(batch)) if !batch.is_empty() => return batch,
            Err(error) => assert!(error.is_transient(), "{error}"),
            Ok(_) => {}
        }
    }
}

/// Makes a topic, publishes, reads in a group and asks where the group is: everything that a service does.
pub(crate) async fn works(name: &str, options: ClientOptions) {
    let binder = KafkaBinder::open(options).expect(name);
    let (topic, group) = (allowed("topic"), allowed("group"));
    timeout(PATIENCE, binder.prepare(spec(&topic)))
        .await
        .expect(name)
        .expect(name);
    let published = binder
        .sink()
        .publish(Outgoing::new(topic.clone(), Message::new(name.to_owned())));
    timeout(PATIENCE, published).await.expect(name).expect(name);
    let mut source = timeout(PATIENCE, binder.subscribe(reads(&topic, &group)))
        .await
        .expect(name)
        .expect(name);
    assert_eq!(first(&mut source).await, name);
    let rows = binder.positions(&topic, Some(&group)).await.expect(name);
    assert_eq!(
        rows[0].progress.as_ref().map(|progress| progress.watermark),
        Some(1),
        "{name}"
    );
    let batch = binder.read(&topic, 0, 0, 1 << 20).await.expect(name);
    assert_eq!(batch.records().len(), 1, "{name}");
    assert_eq!(binder.health(), tidings_core::BinderHealth::Up, "{name}");
    source.close().await.expect(name);
    binder.close().await.expect(name);
}
