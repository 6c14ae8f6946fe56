# syntax=docker/dockerfile:1
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build && npm prune --omit=dev && mkdir -p /var/lib/sallyport

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production MALLOC_ARENA_MAX=1
WORKDIR /app
COPY --from=build --chown=root:root /app/package.json /app/LICENSE /app/NOTICE ./
COPY --from=build --chown=root:root /app/node_modules ./node_modules
COPY --from=build --chown=root:root /app/dist ./dist
COPY --from=build --chown=root:root /app/engine ./engine
COPY --from=build --chown=root:root /app/policies ./policies
COPY --from=build --chown=root:root /app/catalogs ./catalogs
COPY --from=build --chown=root:root /app/starters ./starters
COPY --from=build --chown=node:node /var/lib/sallyport /var/lib/sallyport
USER node
EXPOSE 8080 9901
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9901/livez').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "--max-semi-space-size=8", "--concurrent-marking-max-worker-num=1", "--use-largepages=silent", "dist/main.js"]
CMD ["gateway", "--config", "/etc/sallyport/gateway.yaml"]
