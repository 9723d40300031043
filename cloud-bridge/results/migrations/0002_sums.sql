-- Nearly all frames are done: an index of the others stays small, and leaves the planner no way to walk all of those.
DROP INDEX frames_by_state;
CREATE INDEX frames_unfinished ON frames (state, camera, awaited_us) WHERE done_us IS NULL;

CREATE INDEX hours_by_time ON hours (hour_us);

-- Sums by camera, kept up to date as those by hour are: by the transaction that adds a clip or a result.
CREATE TABLE cameras (
    camera TEXT NOT NULL PRIMARY KEY,
    delivered BIGINT NOT NULL,
    withheld BIGINT NOT NULL,
    undecodable BIGINT NOT NULL,
    frames BIGINT NOT NULL,
    mask BIGINT NOT NULL,
    no_mask BIGINT NOT NULL,
    incorrect BIGINT NOT NULL,
    uncertain BIGINT NOT NULL
);
INSERT INTO cameras (camera, delivered, withheld, undecodable, frames, mask, no_mask, incorrect, uncertain)
    SELECT camera, CAST(SUM(delivered) AS BIGINT), CAST(SUM(withheld) AS BIGINT), CAST(SUM(undecodable) AS BIGINT),
        CAST(SUM(frames) AS BIGINT), CAST(SUM(mask) AS BIGINT), CAST(SUM(no_mask) AS BIGINT),
        CAST(SUM(incorrect) AS BIGINT), CAST(SUM(uncertain) AS BIGINT)
    FROM hours GROUP BY camera;
