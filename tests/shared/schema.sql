-- Tables of open-balena-api 49.0.12 and pinejs 24 as a clone and a restore use them: the used columns and some that
-- must have a value, with names, types, defaults and references as the api creates them (balena.sbvr, tasks.sbvr).
CREATE FUNCTION trigger_update_modified_at() RETURNS TRIGGER AS $modified$
BEGIN
    NEW."modified at" = now();
    RETURN NEW;
END $modified$ LANGUAGE plpgsql;
CREATE TABLE application (
    "created at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "modified at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    id SERIAL NOT NULL PRIMARY KEY,
    "app name" TEXT NOT NULL,
    slug VARCHAR(255) NOT NULL UNIQUE,
    uuid TEXT NOT NULL UNIQUE
);
CREATE TABLE "service instance" (
    "created at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "modified at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    id SERIAL NOT NULL PRIMARY KEY,
    "service type" VARCHAR(255) NOT NULL,
    "ip address" TEXT NOT NULL,
    "last heartbeat" TIMESTAMPTZ NOT NULL
);
CREATE TABLE device (
    "created at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "modified at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    id SERIAL NOT NULL PRIMARY KEY,
    "api heartbeat state" VARCHAR(255) NOT NULL
        CHECK ("api heartbeat state" IN ('online', 'offline', 'timeout', 'unknown')),
    uuid TEXT NOT NULL UNIQUE,
    "device name" VARCHAR(255) NULL,
    "belongs to-application" INTEGER NULL REFERENCES application (id),
    "is online" BOOLEAN DEFAULT FALSE NOT NULL,
    "last connectivity event" TIMESTAMPTZ NULL,
    "is connected to vpn" BOOLEAN DEFAULT FALSE NOT NULL,
    "last vpn event" TIMESTAMPTZ NULL,
    "is managed by-service instance" INTEGER NULL REFERENCES "service instance" (id)
);
CREATE TRIGGER device_trigger_update_modified_at BEFORE UPDATE ON device
    FOR EACH ROW EXECUTE PROCEDURE trigger_update_modified_at();
CREATE TABLE image (
    "created at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "modified at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    id SERIAL NOT NULL PRIMARY KEY,
    status VARCHAR(255) NOT NULL,
    "content hash" VARCHAR(255) NULL,
    "is stored at-image location" VARCHAR(255) NOT NULL UNIQUE
);
CREATE TRIGGER image_trigger_update_modified_at BEFORE UPDATE ON image
    FOR EACH ROW EXECUTE PROCEDURE trigger_update_modified_at();
CREATE TABLE release (
    "created at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "modified at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    id SERIAL NOT NULL PRIMARY KEY,
    "belongs to-application" INTEGER NOT NULL REFERENCES application (id),
    commit VARCHAR(255) NOT NULL
);
CREATE TABLE "api key" (
    "created at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "modified at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    id SERIAL NOT NULL PRIMARY KEY,
    key VARCHAR(255) NOT NULL UNIQUE
);
CREATE TABLE "user" (
    "created at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "modified at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    id SERIAL NOT NULL PRIMARY KEY,
    username VARCHAR(255) NOT NULL UNIQUE
);
CREATE TABLE task (
    "created at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "modified at" TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP NOT NULL,
    id BIGSERIAL NOT NULL PRIMARY KEY,
    "is executed by-handler" VARCHAR(255) NOT NULL,
    status VARCHAR(255) NOT NULL CHECK (status IN ('queued', 'cancelled', 'succeeded', 'failed'))
);
CREATE TABLE migration ("model name" VARCHAR(255) NOT NULL PRIMARY KEY, "executed migrations" JSONB NOT NULL);
