-- One text for SQLite and PostgreSQL: TEXT and BIGINT alone, times in microseconds since 1970 (UTC).
-- Never change a migration that was released: add the next one.

-- Every committed clip with its record and receipt, both as JSON.
CREATE TABLE clips (
    clip TEXT NOT NULL PRIMARY KEY,
    camera TEXT NOT NULL,
    session TEXT NOT NULL,
    captured_us BIGINT NOT NULL,
    committed_us BIGINT NOT NULL,
    every_ns BIGINT NOT NULL,
    delivered BIGINT NOT NULL,
    withheld BIGINT NOT NULL,
    undecodable BIGINT NOT NULL,
    record TEXT NOT NULL,
    receipt TEXT NOT NULL
);
CREATE INDEX clips_by_time ON clips (captured_us, clip);
CREATE INDEX clips_by_camera ON clips (camera, captured_us);
CREATE INDEX clips_by_session ON clips (session);

-- The slots that gave no frame, and why.
CREATE TABLE slots (
    clip TEXT NOT NULL,
    slot BIGINT NOT NULL,
    camera TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (clip, slot)
);
CREATE INDEX slots_by_camera ON slots (camera, at_us);

-- Every frame in the object store. `state` goes from awaiting to done, from awaiting to dead, from dead to done.
CREATE TABLE frames (
    object_key TEXT NOT NULL PRIMARY KEY,
    frame TEXT NOT NULL UNIQUE,
    camera TEXT NOT NULL,
    session TEXT NOT NULL,
    captured_us BIGINT NOT NULL,
    about TEXT,
    state TEXT NOT NULL,
    awaited_us BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    tried_us BIGINT,
    reason TEXT,
    done_us BIGINT,
    result TEXT,
    mask BIGINT NOT NULL,
    no_mask BIGINT NOT NULL,
    incorrect BIGINT NOT NULL,
    uncertain BIGINT NOT NULL
);
CREATE INDEX frames_by_time ON frames (captured_us, object_key);
CREATE INDEX frames_by_camera ON frames (camera, captured_us, object_key);
CREATE INDEX frames_by_session ON frames (session, captured_us, object_key);
CREATE INDEX frames_by_state ON frames (state, camera, awaited_us);

-- Sums by camera and hour, kept up to date by the same transaction that adds a clip or a result.
CREATE TABLE hours (
    camera TEXT NOT NULL,
    hour_us BIGINT NOT NULL,
    delivered BIGINT NOT NULL,
    withheld BIGINT NOT NULL,
    undecodable BIGINT NOT NULL,
    frames BIGINT NOT NULL,
    mask BIGINT NOT NULL,
    no_mask BIGINT NOT NULL,
    incorrect BIGINT NOT NULL,
    uncertain BIGINT NOT NULL,
    PRIMARY KEY (camera, hour_us)
);

CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    password_hash TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    changed_us BIGINT NOT NULL
);

-- Sessions by the digest of their token; the token itself is only in the operator's browser.
CREATE TABLE sessions (
    token_digest TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    opened_us BIGINT NOT NULL,
    seen_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL
);
CREATE INDEX sessions_by_name ON sessions (name);
CREATE INDEX sessions_by_end ON sessions (expires_us);

-- Failed logins in the running window, by what is limited.
CREATE TABLE attempts (
    subject TEXT NOT NULL PRIMARY KEY,
    since_us BIGINT NOT NULL,
    failures BIGINT NOT NULL
);
CREATE INDEX attempts_by_time ON attempts (since_us);

CREATE TABLE audit (
    id TEXT NOT NULL PRIMARY KEY,
    at_us BIGINT NOT NULL,
    event TEXT NOT NULL,
    name TEXT NOT NULL,
    address TEXT NOT NULL
);
CREATE INDEX audit_by_time ON audit (at_us, id);
