"""The web page: server-rendered, English and Chinese, without a build step and without anything from another host."""
