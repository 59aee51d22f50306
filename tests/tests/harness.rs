//! The harness itself, on plain clusters without the extension: if these fail, no other failure means anything.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use acceptance::wait::check;
use acceptance::{Cluster, Files, Http, Shutdown, Snapshot, Wire, eventually, hostile, refused, server, sql};

fn plain() -> Cluster {
    Cluster::builder().without_preload().start()
}

#[test]
fn a_cluster_runs_beside_others_and_goes_when_dropped() {
    let (one, other) = (plain(), Cluster::builder().without_preload().setting("work_mem", "7MB").start());
    one.control().batch_execute("CREATE TABLE here ()").unwrap();
    assert!(other.control().batch_execute("TABLE here").is_err());
    assert_eq!(sql::text(&mut other.control(), "SHOW work_mem"), "7MB");
    assert_ne!(one.port(), other.port());

    let (dir, pid) = (one.dir().to_owned(), one.postmaster_pid());
    assert!(dir.join("data/PG_VERSION").exists());
    drop(one);
    assert!(!dir.exists(), "{} is still there", dir.display());
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists(), "postmaster {pid} is still there");
    assert!(other.is_running());
}

#[test]
fn a_cluster_goes_when_its_test_panics() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let cluster = plain();
        sender.send((cluster.dir().to_owned(), cluster.postmaster_pid())).unwrap();
        panic!("on purpose");
    });
    assert!(test.join().is_err());
    let (dir, pid) = receiver.recv().unwrap();
    assert!(!dir.exists(), "{} is still there", dir.display());
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists(), "postmaster {pid} is still there");
}

#[test]
fn data_outlives_every_way_to_stop() {
    let cluster = plain();
    cluster.control().batch_execute("CREATE TABLE kept (how text)").unwrap();
    for how in [Shutdown::Smart, Shutdown::Fast, Shutdown::Immediate] {
        cluster.control().execute("INSERT INTO kept VALUES ($1)", &[&format!("{how:?}")]).unwrap();
        let status = cluster.stop(how);
        assert!(status.success(), "{how:?}: {status}");
        assert!(!cluster.is_running());
        cluster.start_again();
    }
    cluster.kill_postmaster_immediate();
    assert_eq!(server::processes_in(&cluster.data_dir()), []);
    cluster.start_again();
    assert_eq!(sql::texts(&mut cluster.control(), "SELECT how FROM kept"), ["Smart", "Fast", "Immediate"]);
    assert!(cluster.log().contains("database system was interrupted"), "{}", cluster.log());
}

#[test]
fn settings_change_by_reload() {
    let cluster = plain();
    cluster.configure("work_mem", "9MB");
    cluster.reload();
    let mut client = cluster.control();
    eventually("the new work_mem", || {
        let seen = sql::text(&mut client, "SHOW work_mem");
        check(seen == "9MB", seen)
    });
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let Err(why) = Cluster::builder().without_preload().setting("shared_buffers", "nonsense").try_start() else {
        panic!("it started");
    };
    assert!(why.contains("invalid value for parameter \"shared_buffers\""), "{why}");
}

#[test]
fn a_snapshot_shows_what_changed() {
    let cluster = plain();
    let mut client = cluster.control();
    client.batch_execute("CREATE TABLE t (a int); CREATE TABLE public._stonescriptdb_gateway_types (a int)").unwrap();
    let before = Snapshot::of(&cluster, "postgres");
    before.assert_unchanged(&cluster, "postgres", "nothing was done");

    for (change, mark) in [
        ("INSERT INTO t VALUES (1)", "+ 1 "),
        ("INSERT INTO public._stonescriptdb_gateway_types VALUES (42)", "42"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "FUNCTION"),
        ("GRANT SELECT ON t TO PUBLIC", "GRANT SELECT"),
    ] {
        let before = Snapshot::of(&cluster, "postgres");
        client.batch_execute(change).unwrap();
        let difference = before.difference(&Snapshot::of(&cluster, "postgres"));
        assert!(difference.contains(mark), "{change}: {difference}");
    }
}

#[test]
fn roles_and_errors_are_seen_as_they_are() {
    let cluster = plain();
    cluster.control().batch_execute("CREATE ROLE plain LOGIN").unwrap();
    let failure = refused(cluster.connect_as("plain", "postgres").batch_execute("CREATE ROLE other")).sqlstate("42501");
    failure.sqlstate("42*").says("PERMISSION denied").meant();
    assert!(cluster.try_connect_as("nobody", "postgres").is_err());
}

#[test]
fn archives_are_what_the_tar_program_reads() {
    let files = Files::new().file("tables/a.pssql", "CREATE TABLE a ();").file("functions/b.sql", "SELECT 1;");
    let files = files.edit("functions/b.sql", "1", "2").file("types/c.sql", "x").without("types/c.sql");
    assert_eq!((files.count("tables"), files.count("types")), (1, 0));
    let list = |name: &str, bytes: &[u8]| {
        let file = std::env::temp_dir().join(format!("ssdb_archive_{}_{name}", std::process::id()));
        fs::write(&file, bytes).unwrap();
        let output = std::process::Command::new("tar").arg("-tvf").arg(&file).output().unwrap();
        fs::remove_file(&file).unwrap();
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
    };
    let (names, fine) = list("gz", &files.tar_gz());
    assert!(
        fine && names.contains("postgresql/tables/a.pssql") && names.contains("postgresql/functions/b.sql"),
        "{names}"
    );
    assert!(list("plain", &files.clone().root("").tar()).0.contains(" tables/a.pssql"));

    assert!(list("symlink", &hostile::symlink()).0.contains("-> /etc/passwd"));
    assert!(list("hard_link", &hostile::hard_link()).0.contains("link to"));
    assert!(list("dot_dot", &hostile::dot_dot()).0.contains("/../"));
    assert!(list("long", &hostile::long_dot_dot()).0.contains("/../"));
    assert!(list("pax", &hostile::pax_dot_dot()).0.contains("tables/../../evil"));
    assert!(list("absolute", &hostile::absolute()).0.contains(" /postgresql"));
    assert!(list("device", &hostile::device()).0.contains("crw"));
    assert!(list("fifo", &hostile::fifo()).0.contains("prw"));
    assert!(list("odd", &hostile::odd_but_right("odd")).0.contains(" ./postgresql/tables/odd.pssql"));
    assert!(list("odd", &hostile::odd_but_right("odd")).1);
    for (name, bytes) in [
        ("cut_off", hostile::cut_off()),
        ("cut_off_tar", hostile::cut_off_tar()),
        ("bad_checksum", hostile::bad_checksum()),
        ("bad_header", hostile::bad_header()),
        ("lying_size", hostile::lying_size()),
    ] {
        assert!(!list(name, &bytes).1, "tar accepts {name}");
    }
    let bomb = hostile::bomb(20);
    assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
    assert!(list("bomb", &bomb).0.contains("20971520"));
}

/// Answers one request per element on one connection, whatever it is.
fn stub(answers: Vec<&'static [u8]>) -> u16 {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for answer in answers {
            let _ = stream.read(&mut [0; 65536]);
            stream.write_all(answer).unwrap();
        }
    });
    port
}

#[test]
fn answers_are_read_in_every_framing() {
    let length: &[u8] =
        b"HTTP/1.1 404 Not Found\r\nX-Request-Id: 7\r\nContent-Type: application/json\r\nContent-Length: 52\r\n\r\n\
        {\"error\":\"not_found\",\"message\":\"x\",\"request_id\":\"7\"}";
    let answer = Http::new(stub(vec![length]), None).get("/x");
    answer.error(404, "not_found").says("NOT_FOUND");

    let chunked: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"row\r\n1d\r\ns\":[{\"a\":1.0}],\"row_count\":1}\r\n0\r\n\r\n";
    let answer = Http::new(stub(vec![chunked]), None).get("/x");
    assert_eq!(answer.raw_value(), "1.0", "{answer}");

    let to_the_end: &[u8] = b"HTTP/1.0 200 OK\r\n\r\n[1]";
    assert_eq!(Http::new(stub(vec![to_the_end]), None).get("/x").json, serde_json::json!([1]));

    // One connection: an interim answer, its final one, one to HEAD, which has no body whatever its length says.
    let (interim, fine): (&[u8], &[u8]) = (
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
    );
    let mut wire =
        Wire::connect(std::net::Ipv4Addr::LOCALHOST.into(), stub(vec![interim, fine]), Duration::from_secs(5)).unwrap();
    wire.send(b"x").unwrap();
    assert_eq!(wire.read_answer("POST").unwrap().status, 100);
    wire.send(b"x").unwrap();
    assert_eq!(wire.read_answer("POST").unwrap().text, "{}");
    assert_eq!(wire.read_answer("HEAD").unwrap().status, 200);
    assert!(wire.is_closed());
}

#[test]
fn files_left_by_a_killed_process_are_removed() {
    // No process has this id: the largest that Linux gives is 2^22.
    let stale = server::base_dir().parent().unwrap().join("ssdb_test_4194305");
    fs::create_dir_all(stale.join("c1/data")).unwrap();
    // The next test process finds it; this one has looked already, so it is asked through a process of its own.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "settings_change_by_reload"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!stale.exists(), "{} is still there", stale.display());
}
