//! The function's process: what it needs is read, loaded and tried once, with the time of each step in the log; then it
//! answers one invocation after the other.
//!
//! It ends when its runtime does, and with the host that started it (`CELOSIA_PARENT_PIPE`, see `base::Shutdown`).

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use base::{Clock, Shutdown, SystemClock};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use mask_lambda::{Config, Handler, handler::HandleError, measure};
use models::{CellInput, MaskClassifier};
use onnx::{MaskCells, Runtime};
use serde_json::Value;

fn main() -> ExitCode {
    let started_ms = measure::age_ms();
    base::telemetry::init();
    // One thread: an invocation at a time, and the network has its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime
        .context("no runtime")
        .and_then(|runtime| runtime.block_on(async { serve(started_ms).await }));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the function ends");
            ExitCode::from(base::exit::FAILED)
        }
    }
}

async fn serve(started_ms: Option<u64>) -> anyhow::Result<()> {
    let shutdown = Shutdown::listen().context("signal handlers")?;
    let handler = Arc::new(open(started_ms).await?);
    let told_at_the_end = Arc::clone(&handler);
    let answer = service_fn(|event: LambdaEvent<Value>| {
        let handler = Arc::clone(&handler);
        async move { handler.handle(&event.payload).await.map_err(told) }
    });
    tokio::select! {
        biased;
        () = shutdown.requested() => {
            tracing::info!(counters = ?told_at_the_end.counters(), "ended");
            Ok(())
        }
        ended = lambda_runtime::run(answer) => {
            ended.map_err(|error| anyhow::anyhow!("the runtime: {error}"))
        }
    }
}

/// A failed invocation as its caller reads it: which kind, and one line.
fn told(error: HandleError) -> Diagnostic {
    let kind = match &error {
        HandleError::Event(_) => "Event",
        HandleError::Store(_) => "Store",
        HandleError::Picture { .. } => "Picture",
        HandleError::Classify { .. } => "Classify",
    };
    Diagnostic { error_type: kind.to_owned(), error_message: error.to_string() }
}

/// Loads everything and runs the network once, so that the first invocation is as quick as the others.
async fn open(started_ms: Option<u64>) -> anyhow::Result<Handler> {
    let clock = SystemClock::default();
    let mut last = Duration::ZERO;
    let mut step_us = || {
        let now = clock.now();
        now.saturating_sub(std::mem::replace(&mut last, now)).as_micros()
    };
    let program = std::env::current_exe().context("where this program is")?;
    let beside = program.parent().context("the program's folder")?;
    let config = Config::read(|name| std::env::var(name).ok(), beside)?;
    let config_us = step_us();
    let runtime = Runtime::load(&config.library)?;
    let library_us = step_us();
    let mut model = MaskCells::open(&runtime, &config.model)?;
    let session_us = step_us();
    let cells = vec![128; usize::from(model.info().rows) * usize::from(model.info().cols) * 3];
    let face = CellInput { cells: &cells, box_w: 64, box_h: 64 };
    model.classify(&[face])?;
    let first_run_us = step_us();
    let client = store::s3::S3::new(&config.store).await;
    let store_us = step_us();
    let memory_max_kib = measure::memory_max_kib();
    let name = model.info().name.clone();
    let init =
        measure::Init { started_ms, config_us, library_us, session_us, first_run_us, store_us };
    tracing::info!(
        model = name,
        started_ms,
        config_us,
        library_us,
        session_us,
        first_run_us,
        store_us,
        memory_max_kib,
        "init"
    );
    let (frames, results) = (client.frames(config.seal_root), client.results());
    let handler = Handler::new(
        Arc::new(frames),
        Arc::new(results),
        config.store.frames_bucket,
        Box::new(model),
        config.placement,
        Arc::new(clock),
    );
    Ok(handler.with_init(init))
}
