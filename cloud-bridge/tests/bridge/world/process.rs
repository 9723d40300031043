//! Owns the real bridge as a process, with everything around it: an object store on loopback, a database file, and
//! whatever stands for the function.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use base::Shutdown;
use proto::Role;
use results::{FrameFilter, FrameRow, Results};
use store::{
    s3::S3,
    testing::{KEY_ID, ObjectServer, SECRET},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
};

use super::{RECEIPT_SEED, Site};

/// The function as far as the bridge sees it: takes invocations and remembers them.
#[derive(Clone, Default)]
pub(crate) struct Function(Arc<Mutex<Vec<serde_json::Value>>>);

impl Function {
    /// Starts it; gives its endpoint.
    pub(crate) async fn start(&self, shutdown: &Shutdown) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let take = async |State(function): State<Self>, body: String| {
            function.0.lock().unwrap().push(serde_json::from_str(&body).unwrap());
            StatusCode::ACCEPTED
        };
        let route = "/2015-03-31/functions/{name}/invocations";
        let app = Router::new().route(route, post(take)).with_state(self.clone());
        let stop = shutdown.clone();
        shutdown.spawn(async move {
            tokio::select! {
                () = stop.requested() => {}
                served = async { axum::serve(listener, app).await } => served.unwrap(),
            }
        });
        endpoint
    }

    /// Keys of the frames it was invoked for.
    pub(crate) fn keys(&self) -> Vec<String> {
        let key = |event: &serde_json::Value| {
            event["Records"][0]["s3"]["object"]["key"].as_str().unwrap().to_owned()
        };
        self.0.lock().unwrap().iter().map(key).collect()
    }

    /// Every event.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        self.0.lock().unwrap().clone()
    }
}

/// What outlives the process.
pub(crate) struct Around {
    pub(crate) site: Site,
    pub(crate) server: ObjectServer,
    pub(crate) function: Function,
    config: PathBuf,
}

impl Around {
    /// A site with an object store and a function; `extra` goes into the configuration before its tables.
    pub(crate) async fn new(extra: &str, function_table: &str) -> Self {
        let (site, shutdown) = (Site::new(), Shutdown::default());
        let server = ObjectServer::start(&shutdown).await.unwrap();
        let function = Function::default();
        let function_endpoint = function.start(&shutdown).await;
        let credentials = site.pki.enrol(Role::Bridge, "bridge-1");
        let store = server.settings();
        std::fs::write(site.path("seal.root"), site.root().to_string()).unwrap();
        let seed: String = RECEIPT_SEED.iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(site.path("receipt.key"), seed).unwrap();
        let config = site.path("bridge.toml");
        let text = format!(
            "site = 'town'\nname = 'bridge-1'\ncredentials = '{}'\nlisten = '127.0.0.1:0'\n\
             outbox = 'outbox'\ndatabase = 'sqlite:results.db'\nseal_root = 'seal.root'\n\
             receipt_key = 'receipt.key'\npoll = '50ms'\n{extra}\n\
             [store]\nendpoint = '{}'\nregion = '{}'\nframes_bucket = '{}'\n\
             results_bucket = '{}'\n[function]\nendpoint = '{function_endpoint}'\n{function_table}\n",
            credentials.display(),
            store.endpoint.unwrap(),
            store.region,
            store.frames_bucket,
            store.results_bucket,
        );
        std::fs::write(&config, text).unwrap();
        Self { site, server, function, config }
    }

    /// Starts the bridge and waits until it serves.
    pub(crate) async fn start(&self) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cloud-bridge"))
            .arg("--config")
            .arg(&self.config)
            .env("AWS_ACCESS_KEY_ID", KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("CELOSIA_PARENT_PIPE", "stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = loop {
            let line = lines.next_line().await.unwrap().expect("the bridge ended before it served");
            if let Some(ready) = line.strip_prefix("ready ") {
                break serde_json::from_str::<serde_json::Value>(ready).unwrap();
            }
        };
        let address = ready["listen"].as_str().unwrap().to_owned();
        Process { child, address, stdin }
    }

    /// The database that the bridge writes.
    pub(crate) async fn database(&self) -> Results {
        Results::open(&format!("sqlite:{}", self.site.path("results.db").display())).await.unwrap()
    }

    /// A client with the keys of the tests.
    pub(crate) async fn s3(&self) -> S3 {
        S3::with_keys(&self.server.settings(), KEY_ID, SECRET).await
    }

    /// Every frame in the database, by key.
    pub(crate) async fn frames(&self) -> Vec<FrameRow> {
        let database = self.database().await;
        let mut rows = database.frames(&FrameFilter::default(), results::ROWS_MAX).await.unwrap();
        database.close().await;
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    }
}

/// The running bridge.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: String,
    stdin: ChildStdin,
}

impl Process {
    /// `kill -9`.
    pub(crate) async fn kill(mut self) {
        self.child.start_kill().unwrap();
        self.child.wait().await.unwrap();
    }

    /// Asks it to drain and end; gives its exit code.
    pub(crate) async fn stop(mut self) -> Option<i32> {
        self.stdin.shutdown().await.unwrap();
        drop(self.stdin);
        self.child.wait().await.unwrap().code()
    }
}
