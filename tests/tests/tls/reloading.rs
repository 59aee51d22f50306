//! Certificates that are replaced while the server runs, and files that are of no use.

use acceptance::{Cluster, eventually, wait};

use crate::certificates::{Folder, Session, cluster, curl, exists, start, subject, wait_served};

/// Waits for words in the log.
#[track_caller]
fn logged(cluster: &Cluster, words: &str) {
    eventually("a message in the log", || {
        wait::check(cluster.log().contains(words), format!("no {words:?} in {}", cluster.log_tail()))
    });
}

#[test]
fn a_new_certificate_counts_after_a_reload_and_open_connections_stay() {
    let folder = Folder::new("renewed");
    let cluster = cluster(&folder, &[]);
    wait_served(&cluster);
    assert_eq!(subject(&cluster), "subject=CN=first");
    let mut session = Session::open(&cluster);
    let request = cluster.http().request_bytes("GET", "/health", &[], b"");
    assert_eq!(session.ask(&request).0, 200);

    folder.make("renewed", "second");
    folder.replace("server.crt", "renewed.crt");
    folder.replace("server.key", "renewed.key");
    assert_eq!(subject(&cluster), "subject=CN=first", "before the reload");
    cluster.reload();
    eventually("the new certificate", || {
        let subject = subject(&cluster);
        wait::check(subject == "subject=CN=second", subject)
    });
    assert_eq!(session.ask(&request).0, 200, "the connection from before");
}

#[test]
fn files_of_no_use_at_a_reload_are_reported_and_the_old_ones_stay() {
    let folder = Folder::new("useless");
    let cluster = cluster(&folder, &[]);
    wait_served(&cluster);
    let is_first = || {
        assert_eq!(subject(&cluster), "subject=CN=first");
        wait_served(&cluster);
    };
    folder.make("other", "other");

    folder.replace("server.key", "other.key");
    cluster.reload();
    logged(&cluster, "TLS was not reloaded: the private key");
    logged(&cluster, "is not the key of");
    is_first();

    std::fs::write(folder.path("noise"), "no certificate at all\n").expect("written");
    folder.replace("server.crt", "noise");
    cluster.reload();
    logged(&cluster, "has no certificate in it");
    is_first();

    folder.replace("server.crt", "other.crt");
    std::fs::remove_file(folder.path("server.key")).expect("removed");
    assert!(!exists(&folder.path("server.key")));
    cluster.reload();
    logged(&cluster, "cannot be read");
    is_first();

    // All is well again.
    folder.replace("server.key", "other.key");
    cluster.reload();
    eventually("the other certificate", || {
        let subject = subject(&cluster);
        wait::check(subject == "subject=CN=other", subject)
    });
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    let folder = Folder::new("rights");
    folder.make("server", "first");
    let key = folder.path("server.key");
    let set = |mode: u32| {
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("its rights");
    };
    set(0o644);
    let cluster = start(&folder, &[]);
    logged(&cluster, "TLS cannot be served: the private key file");
    logged(&cluster, "has group or world access");
    // Nothing is served instead, and the worker lives on.
    assert!(cluster.http().try_wire().is_err());
    let workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'stonescriptdb server'";
    assert_eq!(acceptance::sql::text(&mut cluster.control(), workers), "1");
    set(0o640);
    cluster.reload();
    eventually("the second message", || {
        wait::check(cluster.log().matches("has group or world access").count() == 2, cluster.log_tail())
    });
    set(0o600);
    cluster.reload();
    wait_served(&cluster);
}

#[test]
fn without_a_certificate_nothing_is_served_until_there_is_one() {
    let folder = Folder::new("missing");
    let cluster = start(&folder, &[]);
    logged(&cluster, "TLS cannot be served: the certificate file");
    assert!(cluster.http().try_wire().is_err());
    folder.make("server", "first");
    cluster.reload();
    wait_served(&cluster);
    assert!(!cluster.log().contains("was terminated"), "{}", cluster.log_tail());
}

#[test]
fn an_encrypted_key_is_named_as_such() {
    let folder = Folder::new("encrypted");
    folder.make("plain", "first");
    folder.openssl("pkcs8 -topk8 -in plain.key -out server.key -passout pass:secret");
    folder.replace("server.crt", "plain.crt");
    let cluster = start(&folder, &[]);
    logged(&cluster, "is encrypted");
}

#[test]
fn tls_is_switched_on_and_off_by_a_reload() {
    let folder = Folder::new("switched");
    folder.make("server", "first");
    let cluster = Cluster::builder()
        .setting("stonescriptdb.tls_cert_file", &folder.path("server.crt"))
        .setting("stonescriptdb.tls_key_file", &folder.path("server.key"))
        .start();
    cluster.configure("stonescriptdb.tls", "on");
    cluster.reload();
    wait_served(&cluster);
    cluster.http().get("/health").error(400, "invalid_request");
    cluster.configure("stonescriptdb.tls", "off");
    cluster.reload();
    eventually("plain HTTP", || {
        let answer = cluster.http().get("/health");
        wait::check(answer.status == 200, answer)
    });
    // Files of no use must not make it plain, nor leave it so.
    cluster.configure("stonescriptdb.tls_cert_file", "nowhere.crt");
    cluster.configure("stonescriptdb.tls", "on");
    cluster.reload();
    logged(&cluster, "TLS cannot be served: the certificate file \"nowhere.crt\"");
    eventually("no plain HTTP", || wait::check(cluster.http().try_wire().is_err(), "there is a listener"));
}

#[test]
fn relative_paths_are_relative_to_the_data_directory() {
    let folder = Folder::new("relative");
    folder.make("server", "relative");
    let cluster = Cluster::start();
    for file in ["server.crt", "server.key"] {
        let mut copy = acceptance::server::command("cp", cluster.dir());
        copy.arg("-p").arg(folder.path(file)).arg(cluster.data_dir().join(file));
        acceptance::server::run(copy);
    }
    // The names are the defaults.
    cluster.configure("stonescriptdb.tls", "on");
    cluster.reload();
    wait_served(&cluster);
    assert_eq!(subject(&cluster), "subject=CN=relative");
    assert_ne!(curl(&cluster, "/health", &[]).1, 0);
}
