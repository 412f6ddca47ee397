"""What Prometheus reads: TensorFlow Serving's names, cumulative buckets, escaped labels."""

import re
import urllib.request

import pytest

from serving.model_server.metrics import BATCH_SIZE, REQUEST_COUNT, Metrics


def test_counters_and_histograms_are_written_as_prometheus_reads_them():
    metrics = Metrics()
    for size in (1, 2, 3, 5000):
        metrics.observe(BATCH_SIZE, size, model_name="m")
    metrics.count(REQUEST_COUNT, model_name='a"b\\', status="OK")
    metrics.count(REQUEST_COUNT, model_name='a"b\\', status="OK")
    metrics.gauges.append(lambda: [("queued", {"model_name": "m"}, 3)])
    lines = metrics.text().splitlines()
    assert lines[:2] == [
        "# TYPE :tensorflow:serving:request_count counter",
        r':tensorflow:serving:request_count{model_name="a\"b\\",status="OK"} 2',
    ]
    name = ":tensorflow:serving:batching:processed_batch_size"
    buckets = dict(re.findall(rf'{name}_bucket{{model_name="m",le="(.*?)"}} (\d+)', metrics.text()))
    assert (buckets["1"], buckets["2"], buckets["4"], buckets["2048"], buckets["+Inf"]) == ("1", "2", "3", "3", "4")
    assert lines[-4:-2] == [f'{name}_sum{{model_name="m"}} 5006', f'{name}_count{{model_name="m"}} 4']
    assert lines[-2:] == ["# TYPE queued gauge", 'queued{model_name="m"} 3']


@pytest.mark.slow
def test_a_server_counts_its_requests_by_model_and_status(server):
    from serving.model_client import ModelClient, ModelNotFound

    def scraped():
        with urllib.request.urlopen(f"http://{server.rest}/metrics", timeout=10) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            lines = answer.read().decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    before = scraped()
    with ModelClient(server.target) as client:
        client.predict("tiny", {"x": [[1, 2]], "name": ["ann"]})
        with pytest.raises(ModelNotFound):
            client.predict("nobody", {"x": [[1, 2]], "name": ["ann"]})
        with pytest.raises(ModelNotFound):
            client.predict("tiny", {"x": [[1, 2]], "name": ["ann"]}, version=77)
        client.predict("tiny", {"x": [[1, 2]], "name": ["ann"]}, label="stable")
    after = scraped()

    def counted(metric):
        return after[metric] - before.get(metric, 0)

    assert counted(':tensorflow:serving:request_count{model_name="tiny",status="OK"}') == 2
    assert counted(':tensorflow:serving:request_count{model_name="tiny",status="NOT_FOUND"}') >= 1
    assert not any('model_name="nobody"' in metric for metric in after)
    assert counted(':tensorflow:serving:request_latency_count{model_name="tiny",API="Predict",entrypoint="GRPC"}') == 3
    assert counted(':tensorflow:serving:batching:processed_batch_size_count{model_name="tiny"}') == 2
    chosen = [
        counted(f'portrait:model_server:version_choice_count{{model_name="tiny",choice="{how}"}}') for how in ("latest", "version", "label")
    ]
    assert chosen == [1, 1, 1]
    assert after['portrait:model_server:loaded_version{model_name="tiny",version="2"}'] == 1
