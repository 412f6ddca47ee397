#!/bin/sh
# What comes before the services: `portrait prepare`, and once a key by which Prometheus may read the API's metrics and nothing else.
set -e
portrait prepare
if [ ! -s /scrape/api_key ] || ! portrait keys list | grep -q ' prometheus .*since'; then # of a house that was made anew it would open nothing
    portrait keys add prometheus --scope read:operations >/scrape/.api_key
    mv /scrape/.api_key /scrape/api_key
fi
