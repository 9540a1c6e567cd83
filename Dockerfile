# The bridge alone. It speaks MCP on stdin and stdout, so a client runs it attached:
#   docker build -t waha-mcp .
#   docker run --rm -i -e WAHA_URL=http://host.docker.internal:3000 -e WAHA_API_KEY waha-mcp
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY waha_mcp ./waha_mcp
RUN python -m venv /opt/waha-mcp \
 && /opt/waha-mcp/bin/pip install --no-cache-dir --constraint constraints.txt . \
 && /opt/waha-mcp/bin/python -m compileall -q /opt/waha-mcp/lib

FROM python:3.13-slim
COPY --from=build /opt/waha-mcp /opt/waha-mcp
RUN useradd --create-home --uid 10001 waha
USER waha
WORKDIR /home/waha
ENV PATH=/opt/waha-mcp/bin:$PATH PYTHONUNBUFFERED=1
ENTRYPOINT ["waha-mcp"]
CMD ["serve"]
