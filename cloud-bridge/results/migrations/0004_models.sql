-- Counts by the classifier that said them, since what corrects a share are that one's errors. The model is its digest,
-- empty where it was not noted. Sums of slots stay in cameras; those by hour were never asked for.
ALTER TABLE frames ADD COLUMN model TEXT NOT NULL DEFAULT '';

CREATE TABLE counts_by_hour (
    camera TEXT NOT NULL,
    hour_us BIGINT NOT NULL,
    model TEXT NOT NULL,
    frames BIGINT NOT NULL,
    mask BIGINT NOT NULL,
    no_mask BIGINT NOT NULL,
    incorrect BIGINT NOT NULL,
    uncertain BIGINT NOT NULL,
    PRIMARY KEY (camera, hour_us, model)
);
INSERT INTO counts_by_hour (camera, hour_us, model, frames, mask, no_mask, incorrect, uncertain)
    SELECT camera, hour_us, '', frames, mask, no_mask, incorrect, uncertain FROM hours WHERE frames > 0;
CREATE INDEX counts_by_hour_time ON counts_by_hour (hour_us);

CREATE TABLE counts_by_camera (
    camera TEXT NOT NULL,
    model TEXT NOT NULL,
    frames BIGINT NOT NULL,
    mask BIGINT NOT NULL,
    no_mask BIGINT NOT NULL,
    incorrect BIGINT NOT NULL,
    uncertain BIGINT NOT NULL,
    PRIMARY KEY (camera, model)
);
INSERT INTO counts_by_camera (camera, model, frames, mask, no_mask, incorrect, uncertain)
    SELECT camera, '', frames, mask, no_mask, incorrect, uncertain FROM cameras WHERE frames > 0;

DROP TABLE hours;
ALTER TABLE cameras DROP COLUMN frames;
ALTER TABLE cameras DROP COLUMN mask;
ALTER TABLE cameras DROP COLUMN no_mask;
ALTER TABLE cameras DROP COLUMN incorrect;
ALTER TABLE cameras DROP COLUMN uncertain;
