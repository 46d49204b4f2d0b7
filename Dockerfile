# One image for every role: `docker run headrace up`, or `api`, `source`, `sink`, `scheduler`.
FROM node:24-bookworm-slim

WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund && npm cache clean --force

COPY LICENSE ./
COPY core core
COPY schemas schemas
COPY topics topics
COPY connectors connectors
COPY deploy deploy
COPY services services

# TimeoutNegativeWarning: kafkajs computes negative timeouts, which do no harm. The sizes are those of
# ./headrace: raise the second together with HEADRACE_MEMORY_MB.
ENV NODE_ENV=production \
    NODE_OPTIONS="--disable-warning=TimeoutNegativeWarning --max-semi-space-size=2 --max-old-space-size=512" \
    NODE_COMPILE_CACHE=/data/.compile-cache \
    MALLOC_ARENA_MAX=1 \
    HEADRACE_HOME=/data \
    HEADRACE_API_HOST=0.0.0.0

RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 8001

HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.HEADRACE_API_PORT || 8001}/health/live`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]

ENTRYPOINT ["node", "services/main.ts"]
CMD ["up"]
