-- The faces of one person in consecutive frames of one clip are one track, and tracks are what is counted: from here on
-- mask, no_mask, incorrect and uncertain of a frame count the tracks that begin in it. Frames that have their result already
-- keep what they counted, face by face, until another result of their clip comes.

-- The clip of a frame: the frame's id without its last part.
ALTER TABLE frames ADD COLUMN clip TEXT NOT NULL DEFAULT '';
UPDATE frames SET clip = RTRIM(RTRIM(frame, '0123456789'), '/');
CREATE INDEX frames_by_clip ON frames (clip);

-- The track of each face of the result, as JSON.
ALTER TABLE frames ADD COLUMN tracks TEXT;

-- Where those queue who add a result to a clip; how often they did.
CREATE TABLE linked (
    clip TEXT NOT NULL PRIMARY KEY,
    results BIGINT NOT NULL
);
