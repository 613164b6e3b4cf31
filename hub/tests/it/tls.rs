//! TLS: the same port with a certificate, spoken to by our own client and by others; certificates that change while
//! everybody stays connected; devices that have certificates instead of tokens.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use client::endpoint::Given;
use client::{ConnectError, Endpoint, TlsFiles, TokenRole};
use protocol::DeviceId;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::harness::{DEADLINE, Role, TestHub, stderr, stdout, until, within};
use crate::python::{python, root};
use crate::wire::{Bystander, counted, hello};

/// A hub with a certificate of its own CA, for `localhost` and `127.0.0.1`.
struct Secure {
    hub: TestHub,
    certs: PathBuf,
}

impl Secure {
    async fn start(more: &str) -> Self {
        let mut hub = TestHub::nowhere(&[]);
        let certs = hub.data().join("certs");
        let data = hub.data().to_str().unwrap();
        let made = hub.run(&["cert", "server", "--data", data]).await;
        assert!(made.status.success(), "{}", stderr(&made));
        let settings = stdout(&made);
        let settings: Vec<&str> = settings.lines().filter(|line| line.starts_with("tls_")).collect();
        assert_eq!(settings.len(), 2, "{}", stdout(&made));
        std::fs::write(hub.data().join("hub.toml"), format!("{}\n{more}\n", settings.join("\n"))).unwrap();
        hub.launch().await;
        Self { hub, certs }
    }

    fn url(&self) -> String {
        format!("wss://{}", self.hub.address)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.certs.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }

    fn endpoint(&self, url: &str, ca: &Path) -> Endpoint {
        let token = self.hub.token(Role::Fleet);
        let given = Given { url: Some(url), token: Some(&token), ca: Some(ca), ..Given::default() };
        Endpoint::find(TokenRole::Device, given).unwrap()
    }

    async fn cli(&self, arguments: &[&str]) -> std::process::Output {
        let data = self.hub.data().to_str().unwrap();
        let (url, ca) = (self.url(), self.text("ca.pem"));
        self.hub.run(&[arguments, &["--hub", &url, "--data", data, "--ca", &ca]].concat()).await
    }

    /// Runs the device in Python. Returns what it says.
    async fn python(&self, device: &str, credential: &[&str]) -> Json {
        let url = self.url();
        let ca = self.text("ca.pem");
        let mut command = python();
        command.arg(root().join("hub/tests/it/secure.py")).args([&url, &ca, device]).args(credential);
        let output = within("the device in Python", command.output()).await.unwrap();
        serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)))
    }

    /// The certificate that a stranger is shown, as OpenSSL prints it.
    async fn shown(&self, flags: &[&str]) -> String {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &self.hub.address.to_string()]).args(flags);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = within("openssl", command.output()).await.unwrap();
        stdout(&output) + &stderr(&output)
    }

    fn new_pair(&self, names: &[&str]) -> (String, String) {
        self.new_pair_until(names, 2_100)
    }

    /// A pair whose certificate ends with this year.
    fn new_pair_until(&self, names: &[&str], year: i32) -> (String, String) {
        let read = |name: &str| std::fs::read_to_string(self.file(name)).unwrap();
        let ca_key = KeyPair::from_pem(&read("ca.key")).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), ca_key).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.distinguished_name.push(DnType::CommonName, "renewed");
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    }
}

#[tokio::test]
async fn in_tls_everyone_does_what_they_do_without_it() {
    let secure = Secure::start("").await;
    let hub = &secure.hub;
    let fleet = hub.token(Role::Fleet);
    // A device and a command line of ours.
    let endpoint = secure.endpoint(&secure.url(), &secure.file("ca.pem"));
    let (device, _events) = client::device::DeviceClient::spawn(client::device::DeviceConfig {
        endpoint,
        ..hub.device_config(serde_json::from_value(hello("pump")).unwrap())
    })
    .unwrap();
    until("the device in the list", async || {
        stdout(&secure.cli(&["device", "list"]).await).contains("pump ")
    })
    .await;
    // What it says is shown as it is inside TLS, and what was agreed on.
    let wire = stdout(&secure.cli(&["wire", "pump", "--figures"]).await);
    assert!(wire.contains("TLSv1_3 with TLS13_") && wire.contains("> GET /v1/device HTTP/1.1"), "{wire}");
    assert!(!wire.contains(&fleet), "{wire}");
    device.close(DEADLINE).await;
    // Others.
    let said = secure.python("python", &[&fleet]).await;
    assert_eq!(said, json!({"welcome": "welcome", "ack": 1, "tls": "TLSv1.3"}));
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--cacert", &secure.text("ca.pem")])
        .arg(format!("https://{}/healthz", hub.address));
    let answer: Json = serde_json::from_slice(&within("curl", curl.output()).await.unwrap().stdout).unwrap();
    assert_eq!(answer["status"], "ok");
    let ca = secure.text("ca.pem");
    for version in ["-tls1_2", "-tls1_3"] {
        let shown = secure.shown(&[version, "-CAfile", &ca, "-verify_ip", "127.0.0.1"]).await;
        assert!(shown.contains("Verify return code: 0 (ok)"), "{version}: {shown}");
    }
    let old = secure.shown(&["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]).await;
    assert!(old.contains("no peer certificate available"), "{old}");
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_by_name() {
    let secure = Secure::start("").await;
    let dial = async |url: &str, ca: &Path| {
        let endpoint = secure.endpoint(url, ca);
        match client::connect::connect_bare(&endpoint, protocol::DEVICE_PATH).await {
            Err(
                error @ (ConnectError::Tls { .. }
                | ConnectError::Refused { .. }
                | ConnectError::NotAHub { .. }),
            ) => error.to_string(),
            other => panic!("{url}: {other:?}"),
        }
    };
    let url = secure.url();
    let ca = secure.file("ca.pem");
    assert!(client::connect::connect_bare(&secure.endpoint(&url, &ca), protocol::DEVICE_PATH).await.is_ok());
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = elsewhere.path().to_str().unwrap();
    secure.hub.run(&["cert", "ca", "--dir", folder]).await;
    let error = dial(&url, &elsewhere.path().join("ca.pem")).await;
    assert!(error.contains("CA that is not trusted here") && error.contains("--ca"), "{error}");

    let error = dial(&format!("ws://{}", secure.hub.address), &ca).await;
    assert!(error.contains("this port speaks TLS: connect with wss://"), "{error}");
    let plain = TestHub::start().await;
    let error = dial(&format!("wss://{}", plain.address), &ca).await;
    assert!(error.contains("it does not speak TLS there: use ws://"), "{error}");

    // For another name, and of another time.
    let mut past = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    past.not_before = rcgen::date_time_ymd(2020, 1, 1);
    past.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let mut future = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    future.not_before = rcgen::date_time_ymd(2090, 1, 1);
    future.not_after = rcgen::date_time_ymd(2091, 1, 1);
    let other = CertificateParams::new(vec!["hub.example".to_owned()]).unwrap();
    for (params, words) in
        [(past, "expired"), (future, "valid only in"), (other, "not for 127.0.0.1 but for hub.example")]
    {
        let ca_key = KeyPair::from_pem(&std::fs::read_to_string(secure.file("ca.key")).unwrap()).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&std::fs::read_to_string(&ca).unwrap(), ca_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut hub = TestHub::nowhere(&[]);
        std::fs::write(hub.data().join("c.pem"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        std::fs::write(hub.data().join("k.pem"), key.serialize_pem()).unwrap();
        std::fs::write(hub.data().join("hub.toml"), "tls_certificate = \"c.pem\"\ntls_key = \"k.pem\"\n")
            .unwrap();
        hub.launch().await;
        let error = dial(&format!("wss://{}", hub.address), &ca).await;
        assert!(error.contains(words), "{error}");
        let log = hub.kill().await;
        assert!(log.contains("others than its owner may read the key"), "{log}");
        assert_eq!(log.contains("the certificate has ended"), words == "expired", "{log}");
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_while_everyone_stays_and_what_cannot_be_used_changes_nothing() {
    let secure = Secure::start("").await;
    let endpoint = secure.endpoint(&secure.url(), &secure.file("ca.pem"));
    let mut stream = client::connect::connect_bare(&endpoint, protocol::DEVICE_PATH).await.unwrap();
    let say = |text: Json| crate::wire::frame(0x81, text.to_string().as_bytes());
    stream.write_all(&say(hello("pump"))).await.unwrap();
    let mut seq = 0;
    // The connection of before goes on through all of it.
    let mut still_up = async || {
        seq += 1;
        stream.write_all(&say(counted(seq, seq as i64, seq as i64))).await.unwrap();
        within("an ack", async {
            let mut heard = Vec::new();
            while !String::from_utf8_lossy(&heard).contains(&format!(r#""seq":{seq}"#)) {
                assert!(stream.read_buf(&mut heard).await.unwrap() > 0, "the connection ended");
            }
        })
        .await;
    };
    still_up().await;
    assert!(!secure.shown(&[]).await.contains("renewed"));

    // A key that does not fit, at once.
    let (certificate, key) = secure.new_pair(&["127.0.0.1"]);
    std::fs::write(secure.file("server.pem"), &certificate).unwrap();
    hang_up(&secure.hub);
    until("the error in the log", async || secure.hub.log().contains("the certificate in use stays")).await;
    assert!(!secure.shown(&[]).await.contains("renewed"));
    assert!(secure.hub.log().contains("server.key"), "{}", secure.hub.log());
    still_up().await;

    // The right one, noticed by itself.
    std::fs::write(secure.file("server.key"), &key).unwrap();
    until("the new certificate", async || secure.shown(&[]).await.contains("renewed")).await;
    still_up().await;

    // One that has ended: one that is good is not given up for it.
    let (certificate, key) = secure.new_pair_until(&["127.0.0.1"], 2_020);
    std::fs::write(secure.file("server.pem"), &certificate).unwrap();
    std::fs::write(secure.file("server.key"), &key).unwrap();
    hang_up(&secure.hub);
    until("an error about the end", async || secure.hub.log().contains("the new certificate has ended"))
        .await;
    assert!(!secure.shown(&[]).await.contains("Dec 31 00:00:00 2020"));
    still_up().await;

    // Nothing at all: what is in use stays.
    std::fs::remove_file(secure.file("server.pem")).unwrap();
    std::fs::write(secure.file("server.key"), "nothing").unwrap();
    hang_up(&secure.hub);
    until("another error", async || secure.hub.log().matches("the certificate in use stays").count() >= 2)
        .await;
    assert!(secure.shown(&[]).await.contains("renewed"));
    still_up().await;
    assert!(!secure.hub.log().contains("PRIVATE"), "no key is logged");
}

fn hang_up(hub: &TestHub) {
    let id = rustix::process::Pid::from_raw(hub.process_id().cast_signed()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
}

#[tokio::test]
async fn a_device_with_a_certificate_needs_no_token_and_is_only_itself() {
    let secure = Secure::start("tls_client_ca = \"certs/ca.pem\"").await;
    let data = secure.hub.data().to_str().unwrap().to_owned();
    let made = secure.hub.run(&["cert", "device", "line/pump", "--data", &data]).await;
    assert!(made.status.success(), "{}", stderr(&made));
    let (certificate, key) = (secure.text("device-line_pump.pem"), secure.text("device-line_pump.key"));
    let said = secure.python("line/pump", &[&certificate, &key]).await;
    assert_eq!(said["ack"], 1, "{said}");
    let said = secure.python("other", &[&certificate, &key]).await;
    assert!(said["error"].as_str().unwrap().contains("4007"), "it is no other device: {said}");
    // With a token it is whom the token says.
    let said = secure.python("python", &[&secure.hub.token(Role::Fleet)]).await;
    assert_eq!(said["ack"], 1, "{said}");
    // No other path opens to it.
    for (path, status) in
        [("/v1/tokens", "403"), ("/v1/commands", "403"), ("/v1/viewer", "403"), ("/healthz", "200")]
    {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--cacert", &secure.text("ca.pem"), "--cert", &certificate, "--key", &key]);
        curl.args(["--output", "/dev/null", "--write-out", "%{http_code}"]);
        curl.arg(format!("https://{}{path}", secure.hub.address));
        let answer = within("curl", curl.output()).await.unwrap();
        assert_eq!(stdout(&answer), status, "{path}");
    }

    // It is listed like a token, and revoked like one: also what it has open.
    let endpoint = secure.endpoint(&secure.url(), &secure.file("ca.pem"));
    let files = TlsFiles {
        ca: Some(secure.file("ca.pem")),
        identity: Some((certificate.clone().into(), key.clone().into())),
    };
    let endpoint = Endpoint { token: None, ..endpoint }.with_tls(&files).unwrap();
    let mut open = client::connect::connect_bare(&endpoint, protocol::DEVICE_PATH).await.unwrap();
    open.write_all(&crate::wire::frame(0x81, hello("line/pump").to_string().as_bytes())).await.unwrap();
    let listed = stdout(&secure.cli(&["token", "list", "--json"]).await);
    let listed = listed.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let ours: Vec<Json> = listed.filter(|token| token["label"] == "certificate of line/pump").collect();
    assert_eq!(ours.len(), 1, "once, however often it came");
    assert_eq!((&ours[0]["role"], &ours[0]["device"]), (&json!("device"), &json!("line/pump")));
    let revoked = secure.cli(&["token", "revoke", &ours[0]["key"].to_string()]).await;
    assert!(revoked.status.success(), "{}", stderr(&revoked));
    let mut heard = Vec::new();
    // TLS may end without its last word: we did not answer the close frame.
    drop(within("the close", open.read_to_end(&mut heard)).await);
    assert!(heard.windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..] == 4003_u16.to_be_bytes()), "4003");
    let said = secure.python("line/pump", &[&certificate, &key]).await;
    assert!(said["error"].as_str().unwrap().contains("401"), "{said}");
    // A new key is another credential.
    std::fs::remove_file(&certificate).unwrap();
    std::fs::remove_file(&key).unwrap();
    secure.hub.run(&["cert", "device", "line/pump", "--data", &data]).await;
    let said = secure.python("line/pump", &[&certificate, &key]).await;
    assert_eq!(said["welcome"], "welcome", "{said}");
    assert!(secure.hub.reader().ledger(&DeviceId::new("other").unwrap()).unwrap().is_empty());
}

#[tokio::test]
async fn a_certificate_of_another_ca_or_of_nobody_opens_nothing() {
    let secure = Secure::start("tls_client_ca = \"certs/ca.pem\"").await;
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = elsewhere.path().to_str().unwrap();
    secure.hub.run(&["cert", "device", "pump", "--dir", folder]).await;
    let file = |name: &str| elsewhere.path().join(name).to_str().unwrap().to_owned();
    let said = secure.python("pump", &[&file("device-pump.pem"), &file("device-pump.key")]).await;
    assert!(said.get("error").is_some(), "{said}");
    let files = TlsFiles {
        ca: Some(secure.file("ca.pem")),
        identity: Some((file("device-pump.pem").into(), file("device-pump.key").into())),
    };
    let endpoint = secure.endpoint(&secure.url(), &secure.file("ca.pem"));
    let endpoint = Endpoint { token: None, ..endpoint }.with_tls(&files).unwrap();
    let error =
        client::connect::connect_bare(&endpoint, protocol::DEVICE_PATH).await.unwrap_err().to_string();
    assert!(error.contains("the hub refuses our certificate"), "{error}");
    // One for a hub cannot be used as a device's.
    let said = secure.python("localhost", &[&secure.text("server.pem"), &secure.text("server.key")]).await;
    assert!(said.get("error").is_some(), "{said}");
    // Signed by the right CA, and for nobody: 401, with the reason.
    let read = |name: &str| std::fs::read_to_string(secure.file(name)).unwrap();
    let issuer =
        Issuer::from_ca_cert_pem(&read("ca.pem"), KeyPair::from_pem(&read("ca.key")).unwrap()).unwrap();
    let with_names = |common: &[&str], alternative: &[&str]| {
        let names: Vec<String> = alternative.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in common {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        std::fs::write(elsewhere.path().join("c"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        std::fs::write(elsewhere.path().join("k"), key.serialize_pem()).unwrap();
    };
    for (common, alternative, words) in [
        (&["two words"][..], &[][..], "no device id"),
        (&[], &["a.example", "b.example"], "no single device"),
        (&[], &[], "no single device"),
    ] {
        with_names(common, alternative);
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--cacert",
            &secure.text("ca.pem"),
            "--cert",
            &file("c"),
            "--key",
            &file("k"),
        ]);
        curl.arg(format!("https://{}/v1/device", secure.hub.address));
        let answer = within("curl", curl.output()).await.unwrap();
        assert!(stdout(&answer).contains(words), "{}", stdout(&answer));
    }
    with_names(&[], &["pump.example"]);
    let said = secure.python("pump.example", &[&file("c"), &file("k")]).await;
    assert_eq!(said["ack"], 1, "by its only DNS name: {said}");
}

#[tokio::test]
async fn half_a_handshake_of_tls_is_closed_in_time_and_harms_nobody() {
    let secure = Secure::start("").await;
    let endpoint = secure.endpoint(&secure.url(), &secure.file("ca.pem"));
    let start = Instant::now();
    let mut strangers = Vec::new();
    // Nothing; the first byte of a handshake; the start of one that is longer than what came.
    for begin in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(secure.hub.address).await.unwrap();
            stream.write_all(begin).await.unwrap();
            strangers.push(stream);
        }
    }
    let fast = Instant::now();
    client::connect::connect_bare(&endpoint, protocol::DEVICE_PATH).await.unwrap();
    assert!(fast.elapsed() < DEADLINE);
    for mut stream in strangers {
        let mut said = Vec::new();
        drop(within("the hub to close", stream.read_to_end(&mut said)).await);
        assert!(said.len() < 16, "no more than an alert: {said:?}");
    }
    let seconds = start.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(20)).contains(&seconds), "{seconds:?}");
}

#[tokio::test]
async fn without_tls_only_this_machine_is_listened_to_unless_one_insists() {
    let mut hub = TestHub::nowhere(&["--insecure"]);
    let data = hub.data().to_str().unwrap().to_owned();
    let refused = hub.run(&["serve", "--listen", "0.0.0.0:0", "--data", &data]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--insecure") && stderr(&refused).contains("hub cert server"));
    assert!(!hub.database().exists(), "nothing was begun");
    hub.address = "0.0.0.0:0".parse().unwrap();
    hub.launch().await;
    hub.address = std::net::SocketAddr::from(([127, 0, 0, 1], hub.address.port()));
    let mut bystander = Bystander::join(&hub).await;
    bystander.is_undisturbed().await;
    let log = hub.kill().await;
    assert!(log.contains(" WARN ") && log.contains("INSECURE"), "{log}");
}

#[tokio::test]
async fn what_is_wrong_with_the_files_of_tls_is_said_at_the_start_and_nothing_is_overwritten() {
    let hub = TestHub::nowhere(&[]);
    let data = hub.data().to_str().unwrap().to_owned();
    let certs = hub.data().join("certs");
    let made = hub.run(&["cert", "server", "--data", &data, "hub.example", "10.0.0.1"]).await;
    assert!(made.status.success(), "{}", stderr(&made));
    let mode = |name: &str| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(certs.join(name)).unwrap().permissions())
            & 0o777
    };
    assert_eq!((mode("ca.key"), mode("server.key"), mode("ca.pem")), (0o600, 0o600, 0o644));
    let before = std::fs::read(certs.join("ca.key")).unwrap();
    for again in [&["cert", "server"][..], &["cert", "ca"]] {
        let refused = hub.run(&[again, &["--data", &data]].concat()).await;
        assert!(!refused.status.success() && stderr(&refused).contains("is kept"), "{}", stderr(&refused));
    }
    let more = hub.run(&["cert", "device", "pump", "--data", &data]).await;
    assert!(more.status.success(), "{}", stderr(&more));
    assert_eq!(std::fs::read(certs.join("ca.key")).unwrap(), before);

    let server = certs.join("server.pem");
    let (server, key, pump) =
        (server.to_str().unwrap(), certs.join("server.key"), certs.join("device-pump.key"));
    for (certificate, key, words) in [
        (server, "/nowhere.key", "tls_key /nowhere.key: No such file"),
        ("/nowhere.pem", key.to_str().unwrap(), "tls_certificate /nowhere.pem: No such file"),
        (server, pump.to_str().unwrap(), "device-pump.key: the key is not the certificate's"),
        (key.to_str().unwrap(), key.to_str().unwrap(), "server.key: no certificate in PEM is in it"),
        (server, server, "server.pem: no private key in PEM is in it"),
    ] {
        let refused = hub
            .run(&[
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--data",
                &data,
                "--tls-certificate",
                certificate,
                "--tls-key",
                key,
            ])
            .await;
        assert!(
            !refused.status.success() && stderr(&refused).contains(words),
            "{words}: {}",
            stderr(&refused)
        );
        assert!(!stderr(&refused).contains("PRIVATE"));
    }
}

#[tokio::test]
async fn a_device_whose_certificate_ends_is_closed_and_one_with_a_token_is_not() {
    let secure = Secure::start("heartbeat_seconds = 1\ntls_client_ca = \"certs/ca.pem\"").await;
    let read = |name: &str| std::fs::read_to_string(secure.file(name)).unwrap();
    let issuer =
        Issuer::from_ca_cert_pem(&read("ca.pem"), KeyPair::from_pem(&read("ca.key")).unwrap()).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "brief");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    // Certificates end with a second: not before the device has connected, on a busy machine either.
    let now = std::time::SystemTime::now();
    params.not_before = (now - Duration::from_secs(60)).into();
    params.not_after = (now + Duration::from_secs(8)).into();
    let key = KeyPair::generate().unwrap();
    let (certificate, file) = (secure.file("brief.pem"), secure.file("brief.key"));
    std::fs::write(&certificate, params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    std::fs::write(&file, key.serialize_pem()).unwrap();
    let files = TlsFiles { ca: Some(secure.file("ca.pem")), identity: Some((certificate, file)) };
    let with_token = secure.endpoint(&secure.url(), &secure.file("ca.pem"));
    let with_both = with_token.clone().with_tls(&files).unwrap();
    let without = Endpoint { token: None, ..with_both.clone() };
    let spawn = |endpoint: Endpoint, device: &str| {
        let config = secure.hub.device_config(serde_json::from_value(hello(device)).unwrap());
        client::device::DeviceClient::spawn(client::device::DeviceConfig { endpoint, ..config }).unwrap()
    };
    let _devices = (spawn(with_both, "tokened"), spawn(without, "brief"));
    let list = async || stdout(&secure.cli(&["device", "connections", "brief", "--json"]).await);
    until("the certificate's device", async || list().await.contains("opened_at")).await;
    until("its end", async || {
        let listed = list().await;
        listed.contains("4003") && listed.contains("the certificate has ended")
    })
    .await;
    let other = stdout(&secure.cli(&["device", "connections", "tokened", "--json"]).await);
    assert!(other.contains("opened_at") && !other.contains("\"end\""), "{other}");
}
