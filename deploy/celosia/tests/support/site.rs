//! Owns a site's inference on one machine, in one folder: object store, function host, and who speaks to them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use aws_sdk_s3::{Client, primitives::ByteStream};
use proto::{envelope::SealedFrame, result::FrameResult, signing::PublicKey};

use super::{Service, eventually, free_port, key, s3, secret};

/// What a site on one machine runs for its inference, in one folder.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store_port: u16,
    pub(crate) function_port: u16,
    pub(crate) bridge: Client,
}

impl Site {
    /// Nothing runs yet. `None` when the assets are not there.
    pub(crate) fn new() -> Option<Self> {
        super::asset("libonnxruntime.so", "")?;
        let folder = tempfile::tempdir().unwrap();
        let (store_port, function_port) = (free_port(), free_port());
        let bridge = s3(&format!("127.0.0.1:{store_port}"), "bridge", &secret("bridge"));
        Some(Self { folder, store_port, function_port, bridge })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn invoke_url(&self) -> String {
        let port = self.function_port;
        format!("http://127.0.0.1:{port}/2015-03-31/functions/mask/invocations")
    }

    pub(crate) fn store(&self) -> Service {
        let endpoint = self.invoke_url();
        let rule = "[notify]\nbucket = 'frames'\nprefix = 'frames/v1/'";
        self.store_telling(&format!("{rule}\nendpoint = '{endpoint}'\n"))
    }

    pub(crate) fn store_telling(&self, notify: &str) -> Service {
        let folder = self.folder.path();
        let keys = [
            key(folder, "bridge", "'put:frames', 'get:results', 'list:results'"),
            key(folder, "function", "'get:frames', 'put:results'"),
        ];
        let config = self.path("store.toml");
        let text = format!(
            "listen = '127.0.0.1:{}'\nfolder = 'objects'\nbuckets = ['frames', 'results']\n{}{notify}",
            self.store_port,
            keys.concat(),
        );
        std::fs::write(&config, text).unwrap();
        Service::start("object-store", &config)
    }

    /// The function's host against a server of S3 at this port.
    pub(crate) fn function(&self, s3_port: u16, more: &str, log: Stdio) -> Service {
        let environment = function_environment(self.folder.path(), s3_port);
        self.function_of(&super::mask_lambda(), &environment, more, log)
    }

    /// The same with a program and an environment of its own.
    pub(crate) fn function_of(
        &self,
        program: &Path,
        environment: &BTreeMap<&'static str, String>,
        more: &str,
        log: Stdio,
    ) -> Service {
        let environment: String =
            environment.iter().map(|(name, value)| format!("{name} = '{value}'\n")).collect();
        let text = format!(
            "listen = '127.0.0.1:{}'\nprogram = '{}'\nretry_after_ms = 100\n{more}\
             [environment]\n{environment}",
            self.function_port,
            program.display()
        );
        let config = self.path("function.toml");
        std::fs::write(&config, text).unwrap();
        Service::start_logging("function", &config, log)
    }

    pub(crate) async fn put(&self, slot: u64) -> String {
        self.put_sealed(super::sealed(slot)).await
    }

    pub(crate) async fn put_sealed(
        &self,
        (frame, key, _): (SealedFrame, String, PublicKey),
    ) -> String {
        let body = ByteStream::from(frame.bytes().to_vec());
        let put = self.bridge.put_object().bucket("frames").key(&key).if_none_match("*");
        put.body(body).send().await.unwrap();
        key
    }

    /// Keys of the results of a frame, as soon as there is one.
    pub(crate) async fn results(&self, frame_key: &str) -> Vec<String> {
        let prefix = proto::key::results_prefix(frame_key).unwrap();
        eventually(&format!("a result of {frame_key}"), async || {
            let list = self.bridge.list_objects_v2().bucket("results").prefix(&prefix);
            let found = list.send().await.ok()?;
            let keys = found.contents().iter().map(|object| object.key().unwrap().to_owned());
            Some(keys.collect::<Vec<_>>()).filter(|keys| !keys.is_empty())
        })
        .await
    }

    pub(crate) async fn result(&self, key: &str) -> FrameResult {
        let found = self.bridge.get_object().bucket("results").key(key).send().await.unwrap();
        serde_json::from_slice(&found.body.collect().await.unwrap().to_vec()).unwrap()
    }
}

/// What the function is told, with its keys in a file as in production.
pub(crate) fn function_environment(folder: &Path, s3_port: u16) -> BTreeMap<&'static str, String> {
    let credentials = folder.join("function.credentials");
    let text = format!(
        "[function]\naws_access_key_id = function\naws_secret_access_key = {}\n",
        secret("function")
    );
    std::fs::write(&credentials, text).unwrap();
    let (_, _, root) = super::sealed(0);
    let model = format!("models/weights/{}.onnx", models::weights::OF_CELLS.name);
    let model = super::project().join(model);
    BTreeMap::from([
        ("CELOSIA_FRAMES_BUCKET", "frames".to_owned()),
        ("CELOSIA_RESULTS_BUCKET", "results".to_owned()),
        ("CELOSIA_SEAL_ROOT", root.to_string()),
        ("CELOSIA_S3_ENDPOINT", format!("http://127.0.0.1:{s3_port}")),
        ("CELOSIA_ASSETS", super::assets().canonicalize().unwrap().display().to_string()),
        ("CELOSIA_MODEL", model.canonicalize().unwrap().display().to_string()),
        ("AWS_SHARED_CREDENTIALS_FILE", credentials.display().to_string()),
        ("AWS_PROFILE", "function".to_owned()),
    ])
}
