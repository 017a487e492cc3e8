//! A connection to the bus, and what is wrong if there is none, in words.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, push};
use async_nats::jetstream::context::{
    CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind,
};
use async_nats::jetstream::stream::{Info, Stream};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, Subscriber};
use tokio::sync::mpsc;

use super::message::subjects;
use super::stream::{judge, wanted};
use super::{ClusterConfig, Login, Trouble};

/// How long one server may take to answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// How long a question before the first frame may take: a stream without a leader does not answer, and goes on not
/// answering what was asked before it had one.
const BEGIN_WITHIN: Duration = Duration::from_secs(2);

/// How long a consumer may take to be made, and how often that is tried: of three servers of NATS 2.9 with one that is dead,
/// every third was given to that one and never answered (docs/guide/scale.md).
const CONSUMER_WITHIN: Duration = Duration::from_secs(1);
const CONSUMER_ATTEMPTS: u32 = 5;

/// How long any question may take.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How often the stream says that there is nothing new.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Without a sign of the stream for so long it is gone.
pub(super) const SILENT: Duration = Duration::from_millis(3_500);

/// A connection from which nothing comes is found dead after two to three of these; a picture on a thin link may take
/// seconds.
const PING_EVERY: Duration = Duration::from_secs(2);

/// What JetStream answers while it is not ready, as in HTTP.
const UNAVAILABLE: usize = 503;

/// What the connection says; more at once is of no importance.
const EVENTS: usize = 16;

/// A connection, and what happens to it.
pub(super) async fn connect(
    config: &ClusterConfig,
) -> Result<(Client, mpsc::Receiver<Event>), Trouble> {
    let (tell, events) = mpsc::channel(EVENTS);
    let options = ConnectOptions::new()
        .name(format!("stillwatch-relay {}", config.name))
        .connection_timeout(CONNECT_WITHIN)
        .request_timeout(Some(ANSWER_WITHIN))
        .ping_interval(PING_EVERY)
        .event_callback(move |event| {
            let tell = tell.clone();
            async move {
                // Whoever has so much to read already ends the connection.
                let _ = tell.try_send(event);
            }
        });
    let options = match &config.login {
        Login::None => options,
        Login::Password { user, password } => {
            options.user_and_password(user.clone(), password.expose().to_owned())
        }
        Login::Credentials(secret) => options.credentials(secret.expose()).map_err(|error| {
            Trouble::refused(format!(
                "cluster.credentials_file: {error}; nsc generate creds makes one"
            ))
        })?,
    };
    let options = match &config.ca_file {
        // Who names an authority wants to be sure, and not what the server happens to offer.
        Some(file) => options.add_root_certificates(file.clone()).require_tls(true),
        None => options,
    };
    let options = match &config.certificate {
        Some((certificate, key)) => {
            options.add_client_certificate(certificate.clone(), key.clone()).require_tls(true)
        }
        None => options,
    };
    let within = CONNECT_WITHIN * u32::try_from(config.servers.len()).unwrap_or(1) * 2;
    let connecting = options.connect(config.servers.as_slice());
    match tokio::time::timeout(within, connecting).await {
        Ok(Ok(client)) => Ok((client, events)),
        Ok(Err(error)) => Err(not_connected(config, error.kind(), &error)),
        Err(_) => Err(Trouble::away(format!("{} does not answer", config.servers.join(" ")))),
    }
}

fn not_connected(
    config: &ClusterConfig,
    kind: ConnectErrorKind,
    error: &dyn std::error::Error,
) -> Trouble {
    let servers = config.servers.join(" ");
    match kind {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            let (who, keys) = match &config.login {
                Login::None => {
                    ("somebody without a name".to_owned(), "cluster.user and cluster.password_file")
                }
                Login::Password { user, .. } => {
                    (format!("the user \"{user}\""), "cluster.user and cluster.password_file")
                }
                Login::Credentials(_) => {
                    ("these credentials".to_owned(), "cluster.credentials_file")
                }
            };
            Trouble::refused(format!("{servers} does not let {who} in: {keys}"))
        }
        ConnectErrorKind::Tls => Trouble::refused(format!(
            "{servers}: TLS: {}; cluster.ca_file names the authority, cluster.certificate_file this relay's own",
            causes(error)
        )),
        ConnectErrorKind::ServerParse => {
            Trouble::refused(format!("cluster.url: {servers}: {}", causes(error)))
        }
        ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => Trouble::away(format!("{servers}: {}", causes(error))),
    }
}

/// The stream, made if there is none and this relay may make it.
pub(super) async fn stream(
    context: &Context,
    config: &ClusterConfig,
) -> Result<Stream<Info>, Trouble> {
    let name = config.stream.as_str();
    let asking = tokio::time::timeout(BEGIN_WITHIN, context.get_stream(name)).await;
    let Ok(answer) = asking else {
        return Err(Trouble::away(format!("stream \"{name}\": no answer")));
    };
    let found = match answer {
        Ok(found) => found,
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(ref why)
                if why.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                return make(context, config).await;
            }
            GetStreamErrorKind::JetStream(ref why)
                if why.error_code() == ErrorCode::JETSTREAM_NOT_ENABLED
                    || why.error_code() == ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT =>
            {
                return Err(no_jetstream());
            }
            // Nobody answers for JetStream.
            GetStreamErrorKind::Request
                if causes(&error).contains("JetStream resource does not exist") =>
            {
                return Err(no_jetstream());
            }
            GetStreamErrorKind::JetStream(_)
            | GetStreamErrorKind::Request
            | GetStreamErrorKind::EmptyName
            | GetStreamErrorKind::InvalidStreamName => {
                return Err(Trouble::away(format!("stream \"{name}\": {}", causes(&error))));
            }
        },
    };
    judge(&found.cached_info().config, config).map_err(Trouble::refused)?;
    Ok(found)
}

async fn make(context: &Context, config: &ClusterConfig) -> Result<Stream<Info>, Trouble> {
    let name = config.stream.as_str();
    if !config.role.takes_uploads() {
        return Err(Trouble::away(format!(
            "there is no stream \"{name}\" yet: a relay that takes uploads makes it"
        )));
    }
    tracing::info!("cluster: making the stream \"{name}\"");
    let refused = |error: CreateStreamError| {
        let CreateStreamErrorKind::JetStream(why) = error.kind() else {
            let why = causes(&error);
            return Trouble::away(format!("the stream \"{name}\" can't be made: {why}"));
        };
        // No leader yet, not enough servers yet: they say so while they start.
        if why.code() == UNAVAILABLE {
            return Trouble::away(format!("the stream \"{name}\" can't be made yet: {why}"));
        }
        Trouble::refused(format!(
            "the stream \"{name}\" can't be made: {}; cluster.replicas takes as many servers, cluster.storage room on them",
            why
        ))
    };
    context.create_stream(wanted(config)).await.map_err(refused)
}

fn no_jetstream() -> Trouble {
    Trouble::refused(
        "the server has no JetStream for this user; write \"jetstream {}\" into nats-server.conf"
            .to_owned(),
    )
}

/// Has all frames announced, those that are there already first; returns where, and how many these are.
pub(super) async fn announcements(
    client: &Client,
    stream: &Stream<Info>,
    config: &ClusterConfig,
) -> Result<(Subscriber, u64), Trouble> {
    let none = |why: &str| Trouble::away(format!("no announcements of frames: {why}"));
    for _ in 0..CONSUMER_ATTEMPTS {
        let inbox = client.new_inbox();
        let heads = subscribe(client, inbox.clone()).await?;
        let consumer = push::Config {
            deliver_subject: inbox,
            description: Some(format!("stillwatch-relay {}", config.name)),
            deliver_policy: DeliverPolicy::LastPerSubject,
            ack_policy: AckPolicy::None,
            filter_subject: subjects(&config.stream),
            headers_only: true,
            idle_heartbeat: HEARTBEAT,
            inactive_threshold: SILENT,
            num_replicas: 1,
            memory_storage: true,
            ..push::Config::default()
        };
        match tokio::time::timeout(CONSUMER_WITHIN, stream.create_consumer(consumer)).await {
            Ok(Ok(consumer)) => return Ok((heads, consumer.cached_info().num_pending)),
            Ok(Err(error)) => return Err(none(&causes(&error))),
            // It may come to be all the same, and what it says is not read.
            Err(_) => drop(heads),
        }
    }
    Err(none("no answer"))
}

/// Listens to a subject.
pub(super) async fn subscribe(client: &Client, subject: String) -> Result<Subscriber, Trouble> {
    let failed = |error| Trouble::away(format!("can't listen: {}", causes(&error)));
    client.subscribe(subject).await.map_err(failed)
}

/// JetStream over a connection.
pub(super) fn context(client: &Client) -> Context {
    let mut context = jetstream::new(client.clone());
    context.set_timeout(ANSWER_WITHIN);
    context
}

/// An error with what led to it, each once.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}
