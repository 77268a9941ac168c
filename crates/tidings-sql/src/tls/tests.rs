use super::with::Tls;
use super::{Insecure, Stream};
use brokers::{Postgres, PostgresOptions, or_skip};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HOST: &str = "127.0.0.1";

fn asking(mode: PgSslMode, authority: Option<&Path>) -> Tls {
    let options = PgConnectOptions::new_without_pgpass().ssl_mode(mode);
    let options = match authority {
        Some(authority) => options.ssl_root_cert(authority),
        None => options,
    };
    Tls::of(&options).unwrap().unwrap()
}

/// Why a connection is refused.
fn refused(secured: Result<Box<dyn Stream>, Insecure>) -> String {
    match secured.map(drop) {
        Err(Insecure::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// sqlx refuses the same, and would do so before replication is tried.
#[tokio::test]
async fn each_mode_checks_of_a_server_what_it_says() {
    let other = PostgresOptions::secure()
        .setting("ssl_cert_file", "../tls/wronghost.crt")
        .setting("ssl_key_file", "../tls/wronghost.key");
    let test = "each_mode_checks_of_a_server_what_it_says";
    let Some(server) = or_skip(test, Postgres::start(other)) else {
        return;
    };
    let certificates = server.certificates().unwrap();
    let (known, unknown) = (certificates.authority(), certificates.other_authority());
    let port = PgConnectOptions::get_port(&server.url().parse().unwrap());
    let over = async |mode, authority| {
        let stream = TcpStream::connect((HOST, port)).await.unwrap();
        asking(mode, authority).over(stream, HOST).await
    };
    for mode in [PgSslMode::Prefer, PgSslMode::Require] {
        over(mode, Some(&unknown)).await.unwrap();
        over(mode, None).await.unwrap();
    }
    over(PgSslMode::VerifyCa, Some(&known)).await.unwrap();
    for mode in [PgSslMode::VerifyCa, PgSslMode::VerifyFull] {
        for authority in [None, Some(unknown.as_path())] {
            let reason = refused(over(mode, authority).await);
            assert!(reason.contains("set sslrootcert"), "{reason}");
        }
    }
    let reason = refused(over(PgSslMode::VerifyFull, Some(&known)).await);
    assert!(reason.contains("name the host"), "{reason}");
}

/// What is said to a server that answers the question for TLS so.
async fn answered(mode: PgSslMode, answer: &'static [u8]) -> Result<Box<dyn Stream>, Insecure> {
    let listener = TcpListener::bind((HOST, 0)).await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap());
    let stream = stream.await.unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 8];
        stream.read_exact(&mut asked).await.unwrap();
        assert_eq!(asked, [0, 0, 0, 8, 4, 210, 22, 47]);
        stream.write_all(answer).await.unwrap();
    });
    let secured = asking(mode, None).over(stream, HOST).await;
    server.await.unwrap();
    secured
}

#[tokio::test]
async fn a_server_without_tls_is_taken_by_who_only_prefers_it() {
    let mut plain = answered(PgSslMode::Prefer, b"Nnext").await.unwrap();
    let mut next = String::new();
    plain.read_to_string(&mut next).await.unwrap();
    assert_eq!(next, "next");
    for mode in [PgSslMode::Require, PgSslMode::VerifyCa, PgSslMode::VerifyFull] {
        let reason = refused(answered(mode, b"N").await);
        assert!(reason.contains("ssl = on"), "{reason}");
    }
}

#[tokio::test]
async fn what_a_server_says_in_the_open_is_never_taken_for_secure() {
    // An error of a server that does not know the question, one that goes, and one that says more than it may.
    for answer in [&b"E"[..], b"", b"S", b"SR\0\0\0\x08\0\0\0\0"] {
        for mode in [PgSslMode::Prefer, PgSslMode::Require] {
            let secured = answered(mode, answer).await.map(drop);
            let is_refused = matches!(secured, Err(Insecure::Lost(_) | Insecure::Refused(_)));
            assert!(is_refused, "{answer:?}: {secured:?}");
        }
    }
}
