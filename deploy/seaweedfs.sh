#!/bin/sh
# The S3 service of compose.yaml: a SeaweedFS for the archive alone. It sends no telemetry.
set -eu
host=${SEAWEEDFS_HOST:-objects}
secrets=${SEAWEEDFS_SECRETS:-/run/secrets}
AWS_ACCESS_KEY_ID=$(cat "$secrets/s3_access_key_id")
AWS_SECRET_ACCESS_KEY=$(cat "$secrets/s3_secret_access_key")
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY

# Without this it answers before an object is on the disk. It is healthy when it has been told.
flush_each_object() {
	until echo 'fs.configure -locationPrefix=/buckets/ -fsync -apply' | weed shell -master="$host:9333" -filer="$host:8888"; do
		sleep 1
	done
	touch "${SEAWEEDFS_READY:-/tmp/flushes}"
}
flush_each_object >/dev/null 2>&1 &

exec weed -logtostderr=true mini -dir="${SEAWEEDFS_DATA:-/data}" -ip="$host" -ip.bind="${SEAWEEDFS_BIND:-0.0.0.0}" \
	-bucket=archive -master.telemetry=false -admin.ui=false -webdav=false -s3.port.iceberg=0 -s3.port.lance=0
