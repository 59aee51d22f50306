//! TLS on the listeners: the files that the settings name, and the handshake.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::http;
use super::outgoing::Watched;
use crate::settings::{TlsSettings, TlsVersion};

/// What a listener speaks.
#[derive(Clone)]
pub(super) enum Speech {
    /// HTTP as it is.
    Plain,
    /// HTTP within TLS.
    Tls(TlsAcceptor),
}

impl Speech {
    /// What the settings say, with the files as they are now.
    ///
    /// # Errors
    /// What is wrong with a file, as a sentence for the log.
    pub(super) fn load(settings: Option<&TlsSettings>) -> Result<Speech, String> {
        let Some(settings) = settings else { return Ok(Speech::Plain) };
        Ok(Speech::Tls(Arc::new(config(settings)?).into()))
    }

    /// What URLs begin with, in capitals.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Speech::Plain => "HTTP",
            Speech::Tls(_) => "HTTPS",
        }
    }
}

fn config(settings: &TlsSettings) -> Result<ServerConfig, String> {
    let versions: &[_] = match settings.least {
        TlsVersion::Tls12 => &[&TLS12, &TLS13],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&settings.cert_file, "certificate file")?;
    let key = private_key(&settings.key_file)?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let builder = if settings.ca_file.is_empty() {
        builder.with_no_client_auth()
    } else {
        let file = &settings.ca_file;
        let mut authorities = RootCertStore::empty();
        for certificate in certificates(file, "file of authorities")? {
            authorities
                .add(certificate)
                .map_err(|error| format!("the file of authorities \"{file}\" is of no use: {error}"))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider)
            .build()
            .map_err(|error| format!("the file of authorities \"{file}\" is of no use: {error}"))?;
        builder.with_client_cert_verifier(verifier)
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            format!("the private key \"{}\" is not the key of \"{}\"", settings.key_file, settings.cert_file)
        }
        error => format!("\"{}\" and \"{}\" are of no use: {error}", settings.cert_file, settings.key_file),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(file: &str, what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(file, what)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("the {what} \"{file}\" has no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("the {what} \"{file}\" does not read: {error}")),
    }
}

fn private_key(file: &str) -> Result<PrivateKeyDer<'static>, String> {
    check_permissions(file)?;
    let bytes = read(file, "private key file")?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if bytes.windows(9).any(|word| word == b"ENCRYPTED") => {
            format!(
                "the private key \"{file}\" is encrypted, and there is nobody to ask for the passphrase: decrypt it"
            )
        }
        pem::Error::NoItemsFound => format!("the private key file \"{file}\" has no private key in it"),
        error => format!("the private key file \"{file}\" does not read: {error}"),
    })
}

/// Only a file is opened: a pipe would be waited for.
fn read(file: &str, what: &str) -> Result<Vec<u8>, String> {
    let unreadable = |error| format!("the {what} \"{file}\" cannot be read: {error}");
    if !std::fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err(format!("the {what} \"{file}\" is not a regular file"));
    }
    std::fs::read(file).map_err(unreadable)
}

/// Whether nobody else can read the key, as PostgreSQL asks of its own (be-secure-common.c, `check_ssl_key_file_permissions`): of the
/// server's user with 0600 at most, or of root with 0640 at most.
fn check_permissions(file: &str) -> Result<(), String> {
    const GROUP_AND_OTHERS: u32 = 0o077;
    const ALL_BUT_READING_BY_GROUP: u32 = 0o037;
    let found =
        std::fs::metadata(file).map_err(|error| format!("the private key file \"{file}\" cannot be read: {error}"))?;
    if !found.is_file() {
        return Err(format!("the private key file \"{file}\" is not a regular file"));
    }
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own && found.uid() != 0 {
        return Err(format!("the private key file \"{file}\" must be owned by the database user or root"));
    }
    let is_open = (found.uid() == own && found.mode() & GROUP_AND_OTHERS != 0)
        || (found.uid() == 0 && found.mode() & ALL_BUT_READING_BY_GROUP != 0);
    if is_open {
        return Err(format!(
            "the private key file \"{file}\" has group or world access; it must have permissions u=rw (0600) or less if owned by the \
             database user, or permissions u=rw,g=r (0640) or less if owned by root"
        ));
    }
    Ok(())
}

/// The first byte of a TLS handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

/// Shakes hands with a client; `None` if nothing comes of it in time. One that speaks plain HTTP is told so, and what goes wrong in the
/// protocol (a certificate that is missing, a version that is too old) is told to `log`.
pub(super) async fn shake(
    acceptor: &TlsAcceptor,
    stream: Watched,
    limit: Duration,
    log: impl Fn(String),
) -> Option<TlsStream<Watched>> {
    let shaken = async {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(1) if first == [HANDSHAKE] => match acceptor.accept(stream).await {
                Ok(stream) => Some(stream),
                Err(error) => {
                    // Not of those who just leave.
                    if error.kind() == ErrorKind::InvalidData {
                        log(error.to_string());
                    }
                    None
                }
            },
            Ok(1) if first.iter().all(u8::is_ascii_uppercase) => {
                super::front::tell(stream.into_stream(), http::plain_on_tls()).await;
                None
            }
            _ => None,
        }
    };
    tokio::time::timeout(limit, shaken).await.ok().flatten()
}
